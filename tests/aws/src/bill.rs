//! The cost of a million webhooks at list prices, from counted calls. On-demand, us-east-1, US dollars, 2026-11,
//! without the free tier. Sources: aws.amazon.com/{lambda,sqs,dynamodb,api-gateway,cloudwatch}/pricing.

use crate::proof::Cost;

/// A line of the bill: the name, the price of a million, and the number for one webhook.
pub type CostLine = (&'static str, f64, f64);

/// The price of a million GB-seconds on arm64, at $0.0000133334 each.
const GB_SECONDS: f64 = 13.3334;
/// $0.50 a GB of ingested logs, by a million bytes.
const LOG_MEGABYTE: f64 = 0.0005;

pub fn lines(cost: &Cost) -> Vec<CostLine> {
    let n = cost.deliveries as f64;
    let invocations: u64 = cost.invocations.iter().map(|(_, count, _, _)| count).sum();
    let gb_seconds: f64 =
        cost.invocations.iter().map(|(_, _, ms, memory)| *ms as f64 / 1000.0 * (*memory as f64 / 1024.0)).sum();
    // An HTTP API request is metered by 512 KB and an SQS request by 64 KB. Nothing here is larger.
    let through_the_api = (n + cost.crm_hooks as f64) / n;
    vec![
        ("HTTP API requests", 1.00, through_the_api),
        ("Lambda invocations", 0.20, invocations as f64 / n),
        ("Lambda GB-seconds, at most", GB_SECONDS, gb_seconds / n),
        ("SQS requests", 0.40, cost.sqs_requests as f64 / n),
        ("DynamoDB write request units", 0.625, cost.units_per_delivery),
        ("DynamoDB read request units", 0.125, cost.read_units_per_delivery),
        ("CloudWatch log bytes", LOG_MEGABYTE, cost.log_bytes as f64 / n),
    ]
}

/// The bill in lines for a terminal.
pub fn table(cost: &Cost) -> Vec<String> {
    let lines = lines(cost);
    let mut told = vec![format!("{:<32}{:>12}{:>16}{:>12}", "a million webhooks", "a webhook", "$ a million of", "$")];
    for (what, price, count) in &lines {
        told.push(format!("{what:<32}{count:>12.3}{price:>16.4}{:>12.2}", price * count));
    }
    let sum: f64 = lines.iter().map(|(_, price, count)| price * count).sum();
    told.push(format!("{:<60}{sum:>12.2}", "in all"));
    told
}
