use serde::Serialize;

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub figure: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// The limit of physics, the CRM or a bare peer, in the same unit.
    pub limit: Option<f64>,
    /// The ratio of the value to the limit.
    pub ratio: Option<f64>,
    /// The result of the plain way, in the same unit.
    pub baseline: Option<f64>,
    /// The condition for a successful exit code.
    #[serde(skip)]
    pub goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    None,
    ValueAtMost(f64),
    ValueAtLeast(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

impl Figure {
    pub fn is_met(&self) -> bool {
        match self.goal {
            Goal::None => true,
            Goal::ValueAtMost(goal) => self.value <= goal,
            Goal::ValueAtLeast(goal) => self.value >= goal,
            Goal::RatioAtMost(goal) => self.ratio.is_some_and(|ratio| ratio <= goal),
            Goal::RatioAtLeast(goal) => self.ratio.is_some_and(|ratio| ratio >= goal),
        }
    }
}

pub fn print(figures: &[Figure], json: bool) {
    if json {
        for figure in figures {
            println!("{}", serde_json::to_string(figure).unwrap_or_default());
        }
        return;
    }
    println!("{:<20} {:>12} {:<8} {:>12} {:>8} {:>12}  goal", "figure", "value", "unit", "limit", "ratio", "baseline");
    for one in figures {
        let key_value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let goal = match one.goal {
            Goal::None => String::new(),
            Goal::ValueAtMost(goal) => format!("value <= {goal}"),
            Goal::ValueAtLeast(goal) => format!("value >= {goal}"),
            Goal::RatioAtMost(goal) => format!("ratio <= {goal}"),
            Goal::RatioAtLeast(goal) => format!("ratio >= {goal}"),
        };
        let met = if one.goal == Goal::None {
            ""
        } else if one.is_met() {
            " met"
        } else {
            " MISSED"
        };
        println!(
            "{:<20} {:>12.2} {:<8} {:>12} {:>8} {:>12}  {goal}{met}",
            one.figure,
            one.value,
            one.unit,
            key_value(one.limit),
            key_value(one.ratio),
            key_value(one.baseline)
        );
    }
}
