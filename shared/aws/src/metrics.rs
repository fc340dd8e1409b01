//! Metrics for CloudWatch, as log lines in the embedded metric format
//! (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

use serde_json::{Map, Value, json};
use stagedoor_config::variable;
use stagedoor_ports::{Clock, SystemClock};

/// The namespace of all metrics. Their dimensions are `Hub` (the stack) and `Function`.
pub const NAMESPACE: &str = "Stagedoor";

/// One line with these metrics as (name, value, unit), by hub and by function of the hub. `at_ms` is in milliseconds.
pub fn line(hub: &str, function: &str, at_ms: i64, figures: &[(&str, f64, &str)]) -> Value {
    let metrics: Vec<Value> = figures.iter().map(|(name, _, unit)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": at_ms,
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [["Hub"], ["Hub", "Function"]], "Metrics": metrics }],
        }),
    );
    line.insert("Hub".into(), hub.into());
    line.insert("Function".into(), function.into());
    line.extend(figures.iter().map(|(name, value, _)| ((*name).to_owned(), json!(value))));
    Value::Object(line)
}

/// Writes the line where Lambda reads it. Metrics with the value zero cost money and say nothing. They are left out
/// unless `even_zeros`, which gauges need.
#[allow(clippy::print_stdout, reason = "the log is the standard output")]
pub fn emit(function: &str, figures: &[(&str, f64, &str)], even_zeros: bool) {
    let told: Vec<(&str, f64, &str)> =
        figures.iter().filter(|(_, value, _)| even_zeros || *value != 0.0).copied().collect();
    if told.is_empty() {
        return;
    }
    let hub = variable("STAGEDOOR_TABLES").unwrap_or_else(|_| "stagedoor".into());
    println!("{}", line(&hub, function, SystemClock.now().as_millisecond(), &told));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::line;

    #[test]
    fn a_line_is_of_the_embedded_metric_format() {
        let line = line("stagedoor", "website", 1_795_564_800_000, &[("Accepted", 2.0, "Count")]);
        let expected = json!({
            "_aws": { "Timestamp": 1_795_564_800_000_u64, "CloudWatchMetrics": [{
                "Namespace": "Stagedoor", "Dimensions": [["Hub"], ["Hub", "Function"]],
                "Metrics": [{ "Name": "Accepted", "Unit": "Count" }],
            }] },
            "Hub": "stagedoor", "Function": "website", "Accepted": 2.0,
        });
        assert_eq!(line, expected);
    }
}
