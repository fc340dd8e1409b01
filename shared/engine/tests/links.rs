//! When a link's token joins a chat to a person: the rules of `engine::links`, each with the accident that it is against.
#![allow(clippy::indexing_slicing, reason = "it is test code")]

mod world;

use stagedoor_model::{Identifier, Kind, Purpose};
use world::{World, at, chat, email, issued, phone, said, shared, started, tagged, token};

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
        world.people.values().all(|person| person.neighbours.len() == 1),
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
    let policy = stagedoor_engine::Policy { published: 5, ..Default::default() };
    let mut world = World { policy, ..World::default() };
    world.deliver(vec![issued("t1", Purpose::Chat, phone(1), 0, 1_000)]);
    for n in 0..40 {
        world.deliver(vec![started(n, "t1", None, 10 + i64::from(n))]);
    }
    assert_eq!(world.people.len(), 41, "forty strangers and the owner");
    assert!(!together(&world, &chat(0), &phone(1)));
    assert!(world.people.values().all(|person| person.neighbours.len() <= 6), "nobody drags the others along");
}

#[test]
fn a_link_that_was_published_still_names_whose_it_is() {
    let policy = stagedoor_engine::Policy { published: 2, ..Default::default() };
    let mut world = World { policy, ..World::default() };
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
