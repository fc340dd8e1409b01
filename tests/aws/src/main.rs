//! `infra/aws/prove`: deploys the template to a stand-in, plays the sample tour, prints the comparison and the counts.
#![allow(clippy::print_stdout, reason = "it is a command")]

use std::process::ExitCode;

use stagedoor_proof::{bill, proof::prove};

#[tokio::main]
async fn main() -> ExitCode {
    let proof = prove(|line| println!("{line}")).await;
    println!("\nIn the CRM: {} contacts, {} deals.", proof.contacts, proof.deals);
    for line in proof.cost.lines() {
        println!("  {line}");
    }
    println!();
    for line in bill::table(&proof.cost) {
        println!("  {line}");
    }
    for (who, action, resource) in &proof.counts.refused {
        println!("  refused by its role: {who} {action} {resource}");
    }
    match proof.differences.len() {
        0 => {
            println!("\nContact by contact and deal by deal, both CRMs hold the same.");
            ExitCode::SUCCESS
        }
        count => {
            println!("\n{count} contacts differ:");
            proof.differences.iter().take(10).for_each(|line| println!("  {line}"));
            ExitCode::FAILURE
        }
    }
}
