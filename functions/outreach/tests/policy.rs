//! The sending policy is asked right before each call: what was decided yesterday counts when it goes out.
#![allow(clippy::panic, reason = "it is test code")]

mod scene;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use scene::{Ahead, Scene, advertising, bot};
use stagedoor_model::{Body, Event, EventId, SendOutcome};
use stagedoor_ports::{Clock, Queue, Sending, Settled, SystemClock};

const DAY: i64 = 24 * 3_600;

fn hours(hours: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(hours)
}

/// A house that sends one piece of advertising a day.
fn once_a_day(answers: Vec<Sending>) -> Scene {
    let mut scene = Scene::new(answers, Settled::Unknown);
    scene.outreach.policy.cap = Some((1, DAY));
    scene
}

/// Pieces of advertising for the same person, worth sending for so many hours.
async fn pieces(scene: &Scene, worth: i64) -> Vec<Event> {
    let one = advertising(scene, true).await;
    let piece = |number: u32| {
        let mut event = one.clone();
        event.id = EventId::derive(&bot(), &["piece", &number.to_string()]);
        if let Body::MessageDecided(message) = &mut event.body {
            message.until = SystemClock.now() + hours(worth);
        }
        event
    };
    (0..3).map(piece).collect()
}

fn outcomes(told: Vec<stagedoor_model::MessageSent>) -> Vec<SendOutcome> {
    let once: BTreeSet<(String, SendOutcome)> = told.into_iter().map(|sent| (sent.decision, sent.outcome)).collect();
    once.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test]
async fn advertising_that_was_held_back_over_night_goes_out_no_oftener_than_the_house_wants() {
    let mut scene = once_a_day(vec![]);
    let pieces = pieces(&scene, 48).await;
    assert!(scene.outreach.handle(pieces.clone()).await.is_empty());
    assert_eq!(scene.calls(), 1, "all three were decided, one at a time; they wait for the same morning");
    assert_eq!(scene.outbox.depth().await.expect("a depth"), 2, "the others are not given up");
    scene.outreach.clock = Arc::new(Ahead(DAY + 60));
    scene.outreach.handle(pieces).await;
    assert_eq!(scene.calls(), 2, "the second goes a day later");
}

#[tokio::test]
async fn advertising_waits_where_what_was_sent_before_cannot_be_read() {
    let scene = once_a_day(vec![]);
    let pieces = pieces(&scene, 48).await;
    let store = &scene.outreach.store;
    let (ids, _) = store.scan_people(None, 10).await.expect("people");
    let own = stagedoor_model::SourceName::new("outreach").expect("a name");
    let person = ids.first().expect("a person").to_string();
    let name = format!("advertised/{}", EventId::derive(&own, &["advertised", &person]));
    assert!(store.compare_and_set(&name, "sealed v2", None).await.expect("a store"));
    let failed = scene.outreach.handle(vec![pieces[0].clone()]).await;
    assert_eq!((failed.len(), scene.calls()), (1, 0), "the queue hands it out again");
}

#[tokio::test]
async fn one_piece_of_advertising_counts_once_however_often_it_is_tried() {
    let scene = once_a_day(vec![Sending::Busy(Duration::from_secs(1)), Sending::NotSent("no connection".into())]);
    let pieces = pieces(&scene, 48).await;
    let first = || vec![pieces[0].clone()];
    for _ in 0..4 {
        scene.outreach.handle(first()).await;
    }
    assert_eq!(scene.calls(), 3, "busy, no connection, sent");
    assert_eq!(outcomes(scene.told().await), [SendOutcome::Sent("m1".into())]);
}

#[tokio::test]
async fn advertising_that_nobody_got_leaves_its_place_to_the_next() {
    let scene = once_a_day(vec![Sending::Refused("not now".into())]);
    let pieces = pieces(&scene, 48).await;
    scene.outreach.handle(pieces.iter().take(2).cloned().collect()).await;
    assert_eq!(scene.calls(), 2);
}

#[tokio::test]
async fn advertising_whose_place_would_come_too_late_is_given_up_and_no_other_channel_follows() {
    let scene = once_a_day(vec![]);
    let pieces = pieces(&scene, 1).await;
    scene.outreach.handle(pieces.iter().take(2).cloned().collect()).await;
    let told = outcomes(scene.told().await);
    assert!(told.contains(&SendOutcome::Dropped("written to too often".into())), "{told:?}");
    assert_eq!(scene.calls(), 1);
}

#[tokio::test]
async fn a_message_to_somebody_whom_its_mailing_holds_out_by_now_is_not_sent() {
    for held in [0, 100] {
        let mut scene = Scene::new(vec![], Settled::Unknown);
        scene.outreach.policy.hold_outs = [("cart".to_owned(), held)].into();
        let mut event = advertising(&scene, true).await;
        if let Body::MessageDecided(message) = &mut event.body {
            message.campaign = Some("cart".into());
        }
        scene.outreach.handle(vec![event]).await;
        assert_eq!(scene.calls(), usize::from(held == 0));
        assert_eq!(outcomes(scene.told().await).contains(&SendOutcome::Dropped("held out".into())), held == 100);
    }
}

#[tokio::test]
async fn an_answer_is_no_advertising_and_waits_for_no_cap() {
    let scene = once_a_day(vec![]);
    let mut pieces = pieces(&scene, 48).await;
    for event in &mut pieces {
        if let Body::MessageDecided(message) = &mut event.body {
            message.marketing = false;
        }
    }
    scene.outreach.handle(pieces).await;
    assert_eq!(scene.calls(), 3);
}
