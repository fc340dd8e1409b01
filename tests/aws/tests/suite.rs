//! The deployment does what the local hub does.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it is test code"
)]

use stagedoor::{commands, tour::send};
use stagedoor_proof::{
    hub::{AwsHub, Options},
    picture::{differences, picture},
};
use stagedoor_testkit::tour;
use stagedoor_tests::hub::TestHub;

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_tour_makes_the_same_crm_as_on_a_laptop() {
    let local = TestHub::start().await;
    let existing = tour::existing_contacts();
    let parcels = tour::deliveries(stagedoor_ports::Clock::now(&stagedoor_ports::SystemClock));
    local.sandbox.add_contacts(&existing);
    commands::backfill(&local.hub).await.unwrap();
    send(parcels.clone(), &local.base).await.unwrap();
    local.settled().await;

    let aws = AwsHub::start(Options::default()).await;
    aws.sandbox.add_contacts(&existing);
    commands::backfill(&aws.operator).await.unwrap();
    send(parcels, &aws.base).await.unwrap();
    aws.settled().await;
    let counts = aws.meter.counts();
    println!("{:?}", counts.calls);
    println!("{:?}", counts.writes);
    println!("{:?}", counts.reads);
    let (ours, theirs) = (picture(&local.sandbox), picture(&aws.sandbox));
    let different = differences(&ours, &theirs);
    assert!(
        different.is_empty(),
        "{} differences\n{}",
        different.len(),
        different[..different.len().min(6)].join("\n")
    );
    assert_eq!(ours.len(), 300);
    assert!(counts.refused.is_empty(), "the roles allow too little: {:#?}", counts.refused);
    for (who, action, resource) in &counts.used {
        println!("used {who} {action} {resource}");
    }
}
