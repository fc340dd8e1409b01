//! Prints the results of the month and checks the sums.

use std::time::Duration;

use serde_json::Value;
use stagedoor_sandbox::Sandbox;

use super::{Played, fans::CITIES};
use crate::report::Report;

/// Prints the tables, and compares the shop, the CRM and the report.
///
/// # Errors
/// A sentence: what does not agree, or who got a message against their withdrawal.
pub fn tell(played: &Played, report: &Report, sandbox: &Sandbox, took: Duration) -> Result<(), String> {
    println!("\nA month, in {:.0} s. What letters, SMS and messages came to:\n", took.as_secs_f32());
    report.lines().iter().for_each(|line| println!("  {line}"));
    println!("\nWhat mailings did within seven days, against those who were held out:\n");
    report.effect_lines().iter().for_each(|line| println!("  {line}"));
    let owed: i64 = report.lines.values().filter_map(|line| line.revenue.get("RUB")).sum();
    let bought: usize = report.lines.values().map(|line| line.bought).sum();
    let in_crm: i64 =
        sandbox.leads().iter().filter_map(|lead| lead["price"].as_i64().filter(|_| paid(lead, sandbox))).sum();
    let rub = |minor: i64| format!("{}.{:02}", minor / 100, minor % 100);
    println!("\nThe shop says:  {} orders, {} RUB after refunds", played.orders, rub(played.revenue));
    println!("The CRM says:   {} RUB in its paid deals", rub(in_crm * 100));
    println!("The report says: {bought} orders for {} RUB are owed to a campaign or a mailing", rub(owed));
    println!("Letters sent by the hub: {}; unsubscribed by one click: {}", played.letters, played.unsubscribed);
    println!("Written to or on a list against their word: {}", played.wrong.len());
    if !played.wrong.is_empty() {
        return Err(played.wrong.join("; "));
    }
    if in_crm * 100 != played.revenue || owed > played.revenue {
        return Err("the shop, the CRM and the report do not agree".into());
    }
    println!("They agree.");
    Ok(())
}

/// True if money stands behind a deal's price. A cart has a price as well.
fn paid(lead: &Value, sandbox: &Sandbox) -> bool {
    let stage = lead["status_id"].as_u64();
    CITIES.iter().any(|city| sandbox.stage(city.name, "Оплачено").map(|(_, stage)| stage) == stage && stage.is_some())
}
