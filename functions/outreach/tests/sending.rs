//! What `outreach` does with every answer that a channel can give: nothing lost, nothing twice.
#![allow(clippy::panic, reason = "it is test code")]

mod scene;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use scene::{Ahead, Scene, advertising, decided};
use stagedoor_model::{
    Body, Event, Identifier, Kind, Messenger, Notice, QuietHours, SendOutcome, SourceName, Timestamp,
};
use stagedoor_ports::{Queue, Sending, Settled};

#[tokio::test]
async fn one_decision_is_sent_once_however_often_it_is_handed_out() {
    let scene = Scene::new(vec![], Settled::Unknown);
    for _ in 0..3 {
        assert_eq!(scene.outreach.handle(vec![decided(1, 0), decided(1, 0)]).await, BTreeSet::new());
    }
    assert_eq!(scene.calls(), 1);
    let told = scene.told().await;
    // Told again, because nobody knows whether the first telling was heard; the event's id is the same.
    assert!(told.iter().all(|sent| sent.outcome == SendOutcome::Sent("m1".into())) && !told.is_empty());
}

#[tokio::test]
async fn a_hub_that_stops_begins_no_further_message() {
    let scene = Scene::new(vec![], Settled::Unknown);
    // It is to stop while the first is being sent.
    let may_begin = || scene.calls() == 0;
    let failed = scene.outreach.handle_while(vec![decided(1, 0), decided(2, 0), decided(3, 0)], &may_begin).await;
    assert_eq!((failed, scene.calls()), (BTreeSet::from([1, 2]), 1));
    assert_eq!(scene.outreach.handle(vec![decided(2, 0), decided(3, 0)]).await, BTreeSet::new());
    assert_eq!(scene.calls(), 3, "the next start sends them");
}

#[tokio::test]
async fn a_message_that_another_hub_may_have_sent_is_asked_about_and_never_sent_blindly() {
    // What its channel says, how often it is sent, and how it ends.
    for (settled, calls, ended) in [
        (Settled::Unknown, 0, Some(SendOutcome::Unknown)),
        (Settled::Again, 0, Some(SendOutcome::Unknown)),
        (Settled::Sent("4711".into()), 0, Some(SendOutcome::Sent("4711".into()))),
        (Settled::NotKnown, 0, None),
    ] {
        let mut scene = Scene::new(vec![], settled.clone());
        scene.outreach.count_as_asked(&[decided(1, 0)]).await.expect("noted");
        scene.outreach.handle(vec![decided(1, 0)]).await;
        assert_eq!(scene.calls(), calls, "{settled:?}");
        assert_eq!(scene.told().await.first().map(|sent| sent.outcome.clone()), ended, "{settled:?}");
        if settled == Settled::NotKnown {
            scene.outreach.clock = Arc::new(Ahead(125));
            scene.outreach.handle(vec![decided(1, 0)]).await;
            assert_eq!(scene.calls(), 1, "the channel never heard of it");
        }
    }
}

#[tokio::test]
async fn advertising_that_is_held_waits_and_is_sent_afterwards() {
    let scene = Scene::new(vec![], Settled::Unknown);
    let event = advertising(&scene, true).await;
    scene.outreach.pace.hold_advertising(true);
    assert_eq!(scene.outreach.handle(vec![event.clone()]).await, BTreeSet::new());
    assert_eq!((scene.calls(), scene.outbox.depth().await.expect("a depth")), (0, 1), "it is in the outbox again");
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert_eq!(scene.calls(), 1, "what is no advertising goes");
    scene.outreach.pace.hold_advertising(false);
    scene.outreach.handle(vec![event]).await;
    assert_eq!(scene.calls(), 2);
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_never_sent_twice_where_nobody_can_know() {
    let scene = Scene::new(vec![Sending::Lost], Settled::Unknown);
    for _ in 0..3 {
        scene.outreach.handle(vec![decided(1, 0)]).await;
    }
    assert_eq!(scene.calls(), 1);
    assert_eq!(scene.told().await.first().map(|sent| sent.outcome.clone()), Some(SendOutcome::Unknown));
}

#[tokio::test]
async fn a_channel_that_knows_a_decision_by_its_id_is_simply_asked_again() {
    let scene = Scene::new(vec![Sending::Lost], Settled::Again);
    scene.outreach.handle(vec![decided(1, 0)]).await;
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert_eq!(scene.calls(), 2);
    assert_eq!(scene.told().await.len(), 1);
}

#[tokio::test]
async fn an_sms_that_arrives_after_its_caller_gave_up_is_not_sent_again() {
    let scene = Scene::new(vec![Sending::Lost], Settled::NotKnown);
    // After a crash two copies of it are about, and both ask.
    for _ in 0..9 {
        scene.outreach.handle(vec![decided(1, 0)]).await;
    }
    assert_eq!(scene.calls(), 1, "it may be on its way for two minutes");
    scene.channel.found("4711");
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert_eq!(scene.calls(), 1);
    assert_eq!(scene.told().await.first().map(|sent| sent.outcome.clone()), Some(SendOutcome::Sent("4711".into())));
}

#[tokio::test]
async fn an_sms_that_stays_unknown_at_its_gateway_is_sent_again() {
    let mut scene = Scene::new(vec![Sending::Lost], Settled::NotKnown);
    for seconds in [0, 5, 35, 65, 95, 125] {
        scene.outreach.clock = Arc::new(Ahead(seconds));
        scene.outreach.handle(vec![decided(1, 0)]).await;
    }
    assert_eq!((scene.calls(), scene.told().await.len()), (2, 1));
}

#[tokio::test]
async fn a_message_that_a_webhook_will_report_waits_for_it() {
    let scene = Scene::new(vec![Sending::Lost], Settled::Later);
    scene.outreach.handle(vec![decided(1, 0)]).await;
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert_eq!((scene.calls(), scene.told().await.len()), (1, 0));
    let name = format!("reported/{}", decided(1, 0).id);
    assert!(scene.outreach.store.compare_and_set(&name, "wamid.1", None).await.expect("a store"));
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert_eq!(scene.calls(), 1);
    assert_eq!(scene.told().await.first().map(|sent| sent.outcome.clone()), Some(SendOutcome::Sent("wamid.1".into())));
}

#[tokio::test]
async fn a_throttled_channel_holds_its_messages_and_loses_none() {
    let scene = Scene::new(vec![Sending::Throttled(Duration::from_secs(60))], Settled::Unknown);
    assert_eq!(scene.outreach.handle(vec![decided(1, 0)]).await, BTreeSet::new());
    scene.outreach.handle(vec![decided(2, 0)]).await;
    assert_eq!(scene.calls(), 1, "the second does not even try");
    assert_eq!(scene.outbox.depth().await.expect("a queue"), 2, "both are in the outbox again");
    assert!(scene.told().await.is_empty());
}

#[tokio::test]
async fn a_block_withdraws_the_channel_and_is_told() {
    let scene = Scene::new(vec![Sending::RecipientOptedOut("bot was blocked by the user".into())], Settled::Unknown);
    scene.outreach.handle(vec![decided(1, 0)]).await;
    assert!(matches!(scene.told().await.first().map(|sent| sent.outcome.clone()), Some(SendOutcome::Withdrawn(_))));
}

#[tokio::test]
async fn what_cannot_be_reached_fails_and_comes_again() {
    let scene = Scene::new(vec![Sending::NotSent("it cannot be reached".into())], Settled::Unknown);
    assert_eq!(scene.outreach.handle(vec![decided(1, 0)]).await, BTreeSet::from([0]));
    assert_eq!(scene.outreach.handle(vec![decided(1, 0)]).await, BTreeSet::new());
    assert_eq!((scene.calls(), scene.told().await.len()), (2, 1));
}

#[tokio::test]
async fn outside_the_channels_day_nothing_is_tried() {
    let day = Some(Duration::from_secs(24 * 3_600));
    let scene = Scene::within(vec![], Settled::Unknown, day);
    scene.outreach.handle(vec![decided(1, 25)]).await;
    assert_eq!(scene.calls(), 0);
    assert!(matches!(scene.told().await.first().map(|sent| sent.outcome.clone()), Some(SendOutcome::Refused(_))));
    scene.outreach.handle(vec![decided(2, 23)]).await;
    assert_eq!(scene.calls(), 1);
    // A messenger whose clock is two days ahead of ours.
    scene.outreach.handle(vec![decided(3, -48)]).await;
    assert_eq!(scene.calls(), 2);
}

#[tokio::test]
async fn a_decision_that_is_too_old_or_has_no_channel_ends_with_a_reason() {
    let scene = Scene::new(vec![], Settled::Unknown);
    let mut late = decided(1, 0);
    let mut elsewhere = decided(2, 0);
    if let (Body::MessageDecided(late), Body::MessageDecided(elsewhere)) = (&mut late.body, &mut elsewhere.body) {
        late.until = Timestamp::from_second(1_700_000_000).expect("a time");
        elsewhere.through = SourceName::new("other").expect("a name");
    }
    scene.outreach.handle(vec![late, elsewhere]).await;
    assert_eq!(scene.calls(), 0);
    assert_eq!(scene.told().await.len(), 2);
}

#[tokio::test]
async fn advertising_is_not_sent_to_whoever_does_not_consent_at_that_moment() {
    for consents in [false, true] {
        let scene = Scene::new(vec![], Settled::Unknown);
        let event = advertising(&scene, consents).await;
        assert!(scene.outreach.handle(vec![event]).await.is_empty());
        assert_eq!(scene.calls(), usize::from(consents));
        let told = scene.told().await;
        assert_eq!(matches!(told[0].outcome, SendOutcome::Refused(_)), !consents, "{:?}", told[0].outcome);
    }
}

#[tokio::test]
async fn what_is_held_up_until_quiet_hours_waits_for_their_end() {
    let scene = Scene::new(vec![], Settled::Unknown);
    let mut event = decided(10, 0);
    let midnight = "00:00:00".parse().expect("a time");
    let last = "23:59:59.999999999".parse().expect("a time");
    if let Body::MessageDecided(message) = &mut event.body {
        message.quiet = Some(QuietHours { from: midnight, until: last, zone: "UTC".into() });
    }
    assert!(scene.outreach.handle(vec![event]).await.is_empty());
    assert_eq!(scene.calls(), 0);
    assert!(scene.told().await.is_empty(), "it is not given up");
    assert_eq!(scene.outbox.depth().await.expect("a depth"), 1);
}

#[tokio::test]
async fn advertising_that_bears_no_quiet_hours_keeps_to_those_of_the_house() {
    for marketing in [true, false] {
        let mut scene = Scene::new(vec![], Settled::Unknown);
        let (midnight, last) = ("00:00:00", "23:59:59.999999999");
        let times = (midnight.parse().expect("a time"), last.parse().expect("a time"));
        scene.outreach.policy.quiet = Some(QuietHours { from: times.0, until: times.1, zone: "UTC".into() });
        let mut event = decided(10, 0);
        if let Body::MessageDecided(message) = &mut event.body {
            message.marketing = marketing;
        }
        assert!(scene.outreach.handle(vec![event]).await.is_empty());
        assert_eq!(scene.calls(), usize::from(!marketing), "an answer waits for no morning");
        assert_eq!(scene.outbox.depth().await.expect("a depth"), u64::from(marketing));
    }
}

/// A message about the change of a show at this second.
fn notice(number: u32, changed_at: i64, to: &str) -> Event {
    let mut event = decided(number, 0);
    if let Body::MessageDecided(message) = &mut event.body {
        message.to = Identifier::opaque(Kind::Chat(Messenger::Telegram), "", to).expect("an id");
        let changed_at = Timestamp::from_second(changed_at).expect("a time");
        message.notice = Some(Notice { about: "the show and its holder".into(), joined: BTreeSet::new(), changed_at });
    }
    event
}

#[tokio::test]
async fn a_notice_that_was_held_up_behind_a_later_one_is_not_sent_any_more() {
    let scene = Scene::new(vec![Sending::Busy(Duration::from_secs(1))], Settled::Unknown);
    let (moved, called_off) = (notice(1, 1_800_000_000, "5342492667"), notice(2, 1_800_000_600, "77"));
    scene.outreach.handle(vec![moved.clone()]).await;
    scene.outreach.handle(vec![called_off.clone()]).await;
    // The queue hands both out again. The hub sends neither of them twice.
    scene.outreach.handle(vec![moved, called_off]).await;
    assert_eq!(scene.calls(), 2, "the one that was busy, and the later one");
    let told = scene.told().await;
    assert!(told.iter().any(|sent| matches!(&sent.outcome, SendOutcome::Dropped(reason) if reason.contains("later"))));
    assert!(told.iter().any(|sent| matches!(sent.outcome, SendOutcome::Sent(_))));
}

#[tokio::test]
async fn a_notice_of_the_time_before_two_were_joined_is_not_sent_after_one_to_both() {
    let scene = Scene::new(vec![Sending::Busy(Duration::from_secs(1))], Settled::Unknown);
    let (moved, mut called_off) = (notice(1, 1_800_000_000, "5342492667"), notice(2, 1_800_000_600, "5342492667"));
    if let Body::MessageDecided(message) = &mut called_off.body
        && let Some(notice) = &mut message.notice
    {
        notice.joined = BTreeSet::from([std::mem::replace(&mut notice.about, "the show and both of them".into())]);
    }
    scene.outreach.handle(vec![moved.clone()]).await;
    scene.outreach.handle(vec![called_off]).await;
    scene.outreach.handle(vec![moved]).await;
    assert_eq!(scene.calls(), 2, "the one that was busy, and the later one");
}

/// Somebody is erased after `decided(number)` was decided for them.
async fn erased(scene: &Scene, number: u32) -> Event {
    let mut event = decided(number, 0);
    let tombstone = "5f1d".to_owned();
    if let Body::MessageDecided(message) = &mut event.body {
        message.tombstone = Some(tombstone.clone());
    }
    let (people, names) = (BTreeSet::new(), BTreeSet::new());
    scene.outreach.store.erase(&people, &names, &BTreeSet::from([tombstone])).await.expect("erased");
    event
}

#[tokio::test]
async fn an_erased_person_gets_nothing_that_still_waited_for_them() {
    let scene = Scene::new(vec![], Settled::Unknown);
    let mut event = erased(&scene, 1).await;
    let unconcerned = decided(2, 0);
    for is_confidential in [false, true] {
        if let Body::MessageDecided(message) = &mut event.body {
            message.is_confidential = is_confidential;
        }
        assert!(scene.outreach.handle(vec![event.clone()]).await.is_empty());
    }
    assert_eq!(scene.calls(), 0);
    assert!(scene.told().await.is_empty(), "the chats' queue would hold their words and address");
    assert!(scene.outbox.receive(10).await.expect("a queue").is_empty(), "it is over");
    assert!(scene.outreach.handle(vec![unconcerned]).await.is_empty());
    assert_eq!(scene.calls(), 1, "others are written to");
}

#[tokio::test]
async fn of_somebody_who_was_erased_after_a_call_nothing_is_asked_and_nothing_told() {
    for answer in [Sending::Sent("m1".into()), Sending::Lost] {
        let scene = Scene::new(vec![answer], Settled::Sent("m1".into()));
        let mut event = decided(1, 0);
        if let Body::MessageDecided(message) = &mut event.body {
            message.tombstone = Some("5f1d".to_owned());
        }
        scene.outreach.handle(vec![event.clone()]).await;
        _ = scene.told().await;
        let event = erased(&scene, 1).await;
        // Handed out again, as queues do.
        assert!(scene.outreach.handle(vec![event]).await.is_empty());
        assert_eq!(scene.calls(), 1);
        assert!(scene.told().await.is_empty());
    }
}
