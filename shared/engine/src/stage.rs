//! The stages of a deal: rungs of the ladder, or beside it. A refunded deal is neither above nor below a paid one.

use std::{cmp::Ordering, hash::Hash};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use stagedoor_model::Rung;

/// Where a deal stands: on a rung of the ladder, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Ladder(Rung),
    /// All that was paid was returned, or every ticket was cancelled after the payment.
    Refunded,
    /// The only order was given up before payment.
    Lost,
}

impl Stage {
    /// All stages: the ladder from the lowest rung, then those beside it.
    pub const ALL: [Stage; 8] = [
        Stage::Ladder(Rung::Interested),
        Stage::Ladder(Rung::Talked),
        Stage::Ladder(Rung::PromoIssued),
        Stage::Ladder(Rung::Cart),
        Stage::Ladder(Rung::Paid),
        Stage::Ladder(Rung::Attended),
        Stage::Refunded,
        Stage::Lost,
    ];

    /// Returns the name of the stage in the config, in rules and in stored data.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ladder(Rung::Interested) => "interested",
            Stage::Ladder(Rung::Talked) => "talked",
            Stage::Ladder(Rung::PromoIssued) => "promo_issued",
            Stage::Ladder(Rung::Cart) => "cart",
            Stage::Ladder(Rung::Paid) => "paid",
            Stage::Ladder(Rung::Attended) => "attended",
            Stage::Refunded => "refunded",
            Stage::Lost => "lost",
        }
    }

    /// Returns the stage with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|stage| *stage == self).unwrap_or(Self::ALL.len())
    }
}

/// Only rungs have an order: `stage >= paid` is false for a refunded deal.
impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Stage::Ladder(own), Stage::Ladder(other)) => Some(own.cmp(other)),
            (own, other) => (own == other).then_some(Ordering::Equal),
        }
    }
}

/// Hashes the stage as before the ladder had a type of its own, so that segments are not evaluated anew.
impl Hash for Stage {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_isize(self.index() as isize);
    }
}

impl From<Rung> for Stage {
    fn from(rung: Rung) -> Self {
        Stage::Ladder(rung)
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Stage::named(&name).ok_or_else(|| de::Error::custom(format!("unknown stage {name:?}")))
    }
}

/// A pipeline's names for the hub's stages, in the order of [`Stage::ALL`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageNames(Vec<(Stage, String)>);

impl StageNames {
    /// Sets the name of a stage.
    pub fn insert(&mut self, stage: Stage, name: String) {
        self.0.retain(|(known, _)| *known != stage);
        self.0.push((stage, name));
        self.0.sort_by_key(|(stage, _)| stage.index());
    }

    /// Returns the name of a stage. `None` if the pipeline does not have it.
    pub fn get(&self, stage: Stage) -> Option<&String> {
        self.0.iter().find(|(known, _)| *known == stage).map(|(_, name)| name)
    }

    /// Returns the names in the order of the stages.
    pub fn values(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(_, name)| name)
    }

    /// Returns the names in the order of the stages.
    pub fn into_values(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(_, name)| name)
    }
}

impl FromIterator<(Stage, String)> for StageNames {
    fn from_iter<I: IntoIterator<Item = (Stage, String)>>(all: I) -> Self {
        let mut names = Self::default();
        all.into_iter().for_each(|(stage, name)| names.insert(stage, name));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refunded_or_lost_deal_is_neither_above_nor_below_a_paid_one() {
        let paid = Stage::Ladder(Rung::Paid);
        for beside in [Stage::Refunded, Stage::Lost] {
            assert_eq!(beside.partial_cmp(&paid), None);
        }
        assert!(Stage::Ladder(Rung::Attended) > paid);
    }

    #[test]
    fn stages_are_stored_under_the_names_that_they_always_had() {
        for stage in Stage::ALL {
            let text = serde_json::to_string(&stage).expect("a name");
            assert_eq!(text, format!("{:?}", stage.name()));
            assert_eq!(serde_json::from_str::<Stage>(&text).expect("a stage"), stage);
        }
    }
}
