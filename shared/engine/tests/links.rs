//! When a link's token joins a chat to a person: the rules of `engine::links`, each with the accident that it is against.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use stagedoor_engine::{MailingStep, Reports};
use stagedoor_model::{Body, Channel, Event, EventId, Identifier, Kind, LinkClicked, LinkIssued, Purpose};
use world::{World, at, chat, email, issued, phone, said, shared, source, started, tagged, token};

/// The groups of record keys that are one person, for chats and links alone.
fn together(world: &World, a: &Identifier, b: &Identifier) -> bool {
    let of = |identifier: &Identifier| {
        let own = world.people.values().find(|person| {
            person.records.values().any(|record| record.identifiers.contains(identifier) && owns(record, identifier))
        });
        own.map(|person| person.id)
    };
    of(a).is_some() && of(a) == of(b)
}

/// A refused chat mentions the link too; the link is where it was issued.
fn owns(record: &stagedoor_model::Record, identifier: &Identifier) -> bool {
    identifier.kind() != Kind::Link || record.key.0.starts_with("link:")
}

#[test]
fn the_first_chat_through_a_personal_link_is_its_owners() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    world.deliver(vec![started(1, "t1", None, 10)]);
    assert_eq!(world.people.len(), 1);
    assert!(together(&world, &chat(1), &phone(1)));
}

#[test]
fn a_chat_that_came_before_the_news_of_its_link_is_joined_when_that_comes() {
    let mut world = World::default();
    world.deliver(vec![started(1, "t1", None, 10)]);
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    assert_eq!(world.people.len(), 1);
}

#[test]
fn a_friend_to_whom_the_link_was_forwarded_stays_somebody_else() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    world.deliver(vec![started(1, "t1", None, 10), started(2, "t1", None, 20)]);
    assert!(together(&world, &chat(1), &phone(1)));
    assert!(!together(&world, &chat(2), &phone(1)));
    assert!(
        world.people.values().all(|person| person.blocked_with.len() == 1),
        "and a manager can see that they are near"
    );
}

#[test]
fn a_second_messenger_from_the_same_browser_is_the_same_fan_and_from_another_is_not() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    world.deliver(vec![
        started(1, "t1", Some("browser a"), 10),
        started(2, "t1", Some("browser a"), 20),
        started(3, "t1", Some("browser b"), 30),
    ]);
    assert!(together(&world, &chat(1), &phone(1)) && together(&world, &chat(2), &phone(1)));
    assert!(!together(&world, &chat(3), &phone(1)));
}

#[test]
fn a_link_that_is_too_old_joins_nobody() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000), started(1, "t1", None, 1_000)]);
    assert!(!together(&world, &chat(1), &phone(1)));
}

#[test]
fn a_link_to_the_shop_or_on_a_poster_joins_nobody() {
    for purpose in [Purpose::Shop, Purpose::Public] {
        let mut world = World::default();
        world.deliver(vec![issued("t1", purpose, phone(1), 0, 1_000), started(1, "t1", None, 10)]);
        assert!(!together(&world, &chat(1), &phone(1)), "{purpose:?}");
    }
}

#[test]
fn a_chat_that_gave_another_phone_is_not_the_links_owner() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    world.deliver(vec![started(1, "t1", None, 10)]);
    assert!(together(&world, &chat(1), &phone(1)), "nothing speaks against it yet");
    world.deliver(vec![shared(1, phone(2), 20)]);
    assert!(!together(&world, &chat(1), &phone(1)), "now it does, and the two are parted");
    assert!(together(&world, &chat(1), &phone(2)));
}

#[test]
fn a_token_that_was_forwarded_before_its_owner_came_is_spent() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    // A friend with a phone of their own was first; the next stranger may be anybody.
    world.deliver(vec![shared(1, phone(2), 5), started(1, "t1", None, 10), started(2, "t1", None, 20)]);
    assert!(!together(&world, &chat(1), &phone(1)) && !together(&world, &chat(2), &phone(1)));
}

#[test]
fn an_owner_who_gives_their_own_phone_or_a_first_email_stays_joined() {
    let mut world = World::default();
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000), started(1, "t1", None, 10)]);
    world.deliver(vec![shared(1, phone(1), 20), shared(1, email(1), 30), said(1, 40)]);
    assert_eq!(world.people.len(), 1);
    assert!(together(&world, &email(1), &phone(1)));
}

#[test]
fn a_link_that_was_published_joins_nobody_and_makes_no_web_of_neighbours() {
    let guards = stagedoor_engine::Guards { published: 5, ..Default::default() };
    let mut world = World { guards, ..World::default() };
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    for n in 0..40 {
        world.deliver(vec![started(n, "t1", None, 10 + i64::from(n))]);
    }
    assert_eq!(world.people.len(), 41, "forty strangers and the owner");
    assert!(!together(&world, &chat(0), &phone(1)));
    assert!(world.people.values().all(|person| person.blocked_with.len() <= 6), "nobody drags the others along");
}

#[test]
fn a_link_that_was_published_still_names_whose_it_is() {
    let guards = stagedoor_engine::Guards { published: 2, ..Default::default() };
    let mut world = World { guards, ..World::default() };
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    for n in 0..5 {
        world.deliver(vec![started(n, "t1", None, 10 + i64::from(n))]);
    }
    assert_eq!(world.people.len(), 6, "five strangers and the owner");
    // The hub tells once more of the link, now with another address of its owner.
    world.deliver(vec![issued("t1", Purpose::Chat, email(1), 0, 1_000)]);
    assert_eq!(world.people.len(), 6, "one link belongs to one person");
    assert!(together(&world, &email(1), &phone(1)));
    world.deliver(vec![started(7, "t1", None, 30)]);
    assert_eq!(world.people.len(), 7, "and it still joins nobody who presses it");
}

#[test]
fn a_browsers_tag_is_no_part_of_the_link() {
    assert_eq!(token("t1").as_str(), tagged("t1", "a browser").as_str());
    assert_eq!(at(0), at(0));
}

/// A letter's link: the letter goes out in second 100.
fn in_a_letter(looks: &[i64]) -> stagedoor_engine::Person {
    let mut world = World::default();
    let token = token("letter");
    let body = |is_sent| LinkIssued {
        identifiers: [email(1)].into(),
        token: token.clone(),
        campaign: "cart".into(),
        purpose: Purpose::Shop,
        expires_at: at(1_000),
        is_sent,
    };
    let event = |what: String, second: i64, body: Body| {
        let id = EventId::derive(&source(), &[&what, &second.to_string()]);
        stagedoor_engine::record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
    };
    let click = |second: &i64| {
        let clicked = LinkClicked { token: token.clone(), campaign: "ufa".into(), purpose: Purpose::Shop, show: None };
        event("click".into(), *second, Body::LinkClicked(clicked))
    };
    // In whatever order they come.
    world.deliver(looks.iter().map(click).collect());
    world.deliver(vec![event("sent".into(), 100, Body::LinkIssued(body(true)))]);
    world.deliver(vec![event("issued".into(), 90, Body::LinkIssued(body(false)))]);
    world.people.into_values().find(|one| one.links().next().is_some()).expect("a person")
}

#[test]
fn who_looks_at_a_letters_link_within_seconds_of_sending_is_a_scanner() {
    let step = MailingStep {
        at: at(90),
        channel: Channel::Email,
        through: "email".into(),
        to: email(1),
        decision: "d".into(),
    };
    for (looks, first) in [(vec![], None), (vec![100, 103], None), (vec![103, 400], Some(400)), (vec![111], Some(111))]
    {
        let person = in_a_letter(&looks);
        let link = person.links().next().expect("a link");
        assert_eq!(person.looks(link).map(|(first, _)| first), first.map(at), "{looks:?}");
        assert_eq!(Reports::of(&person).was_read(&step), first.is_some(), "{looks:?}");
    }
}

#[test]
fn who_follows_all_links_of_a_letter_at_once_is_a_scanner() {
    for (unsubscribe, first) in [(501, None), (520, Some(500))] {
        let mut world = World::default();
        let link = |name: &str, purpose: Purpose, second: i64| {
            let token = token(name);
            let issued = LinkIssued {
                identifiers: [email(1)].into(),
                token: token.clone(),
                campaign: "cart".into(),
                purpose,
                expires_at: at(1_000),
                is_sent: false,
            };
            let clicked = LinkClicked { token, campaign: "cart".into(), purpose, show: None };
            [(90, Body::LinkIssued(issued)), (second, Body::LinkClicked(clicked))].map(|(second, body)| {
                let id = EventId::derive(&source(), &[name, &second.to_string()]);
                stagedoor_engine::record_of(&Event::new(&source(), id, at(second), body)).expect("about a person")
            })
        };
        world.deliver(link("shop", Purpose::Shop, 500).into());
        world.deliver(link("unsubscribe", Purpose::Consent, unsubscribe).into());
        let person = world.people.into_values().find(|one| one.links().count() == 2).expect("a person");
        let looks: Vec<_> = person.links().filter_map(|link| person.looks(link)).collect();
        assert_eq!(looks.first().map(|(first, _)| *first), first.map(at), "the page of the unsubscription is no look");
    }
}
