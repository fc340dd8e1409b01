//! Phones and e-mails that somebody types into a chat are heard, whether the bot asked for them right before or not.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "it is test code")]

mod world;

use std::collections::BTreeMap;

use stagedoor_engine::{Ask, BotScript, BotStep, Catalog, CrmState, Intent, Localised, On, Reply, plan, turns};
use stagedoor_model::{
    Body, ChatRef, ChatStarted, ContactShared, Content, Event, EventId, MessageHeard, Proof, Record, Region,
};
use world::{World, at, chat, source};

fn bot_script() -> BotScript {
    let title = |text: &str| Localised(BTreeMap::from([("ru".to_owned(), text.to_owned())]));
    let reply = |on: On, ask: Option<Ask>| {
        let text = title(&format!("{on:?}"));
        Reply { on, campaign: None, text, button: None, ask }
    };
    let menu = (1..=9).map(|item| reply(On::Menu(item, title("Пункт")), None));
    let others = [
        reply(On::Start, Some(Ask::Phone)),
        reply(On::Keyword(["билет".to_owned()].into()), None),
        reply(On::Given, None),
        reply(On::Wrong(Ask::Phone), None),
        reply(On::Stop, None),
        reply(On::Other, None),
    ];
    let region = Region::new("RU").ok();
    BotScript { replies: menu.chain(others).collect(), region, ..BotScript::default() }
}

fn record(id: &[&str], second: i64, body: Body) -> Record {
    let event = Event::new(&source(), EventId::derive(&source(), id), at(second), body);
    stagedoor_engine::record_of(&event).expect("about a person")
}

fn opened() -> Record {
    let started = ChatStarted { chat: ChatRef::of(chat(1)), token: None, may_write: true, only_opened: false };
    record(&["opened"], 1, Body::ChatStarted(started))
}

fn text(second: i64, text: &str) -> Record {
    let content = Content::Text(text.to_owned());
    let heard = MessageHeard { chat: ChatRef::of(chat(1)), message: second.to_string(), content };
    record(&["line", &second.to_string()], second, Body::MessageReceived(heard))
}

fn claim(second: i64, given: &str) -> Record {
    let given = given.parse().expect("an identifier");
    let shared = ContactShared { chat: ChatRef::of(chat(1)), given, proof: Proof::Claimed };
    record(&["claim", &second.to_string()], second, Body::ContactShared(shared))
}

/// What is learnt of each line of the chat, and what the line was understood as.
fn told(records: Vec<Record>) -> Vec<(Intent, Option<String>)> {
    let mut world = World::default();
    world.deliver(records);
    let person = world.people.values().find(|one| one.conversations().next().is_some()).expect("a person");
    let conversation = person.conversations().next().expect("a chat").1;
    let bot_script = bot_script();
    let learnt = |turn: &BotStep<'_>| match &turn.heard {
        Intent::Given(given) => Some(given.to_string()),
        _ => turn.beside.as_ref().map(ToString::to_string),
    };
    turns(&bot_script, conversation, person).iter().map(|turn| (turn.heard.clone(), learnt(turn))).collect()
}

#[test]
fn a_phone_or_an_email_that_is_all_a_message_says_is_given_at_any_time() {
    let phone = Some("phone:+79163009901".to_owned());
    for words in ["+7 916 300-99-01", "8 916 300 99 01, Ольга", "Петрова Ольга Ивановна 89163009901", "9163009901"]
    {
        assert_eq!(told(vec![text(2, words)])[0].1, phone, "{words}: the first message");
        for between in ["Сколько стоит билет?", "1"] {
            let all = told(vec![opened(), text(2, between), text(3, words)]);
            assert_eq!(all[2].1, phone, "{words} behind {between}");
            assert!(matches!(all[2].0, Intent::Given(_)), "{words} behind {between}");
        }
    }
    let email = Some("email:anna@example.com".to_owned());
    assert_eq!(told(vec![opened(), text(2, "Где вы?"), text(3, "Анна anna@example.com")])[2].1, email);
    // A word that the bot answers is answered, and the phone beside it is kept.
    let all = told(vec![text(2, "билет 8 916 300 99 01")]);
    assert_eq!((all[0].0.clone(), all[0].1.clone()), (Intent::Keyword, phone));
}

#[test]
fn a_number_inside_other_words_is_nobodys_claim() {
    for words in [
        "Это ваш телефон 8 916 300 99 01?",
        "я звонила вам с номера 8 916 300 99 01 вчера",
        "заказ 123456, 8 916 300 99 01",
        "13",
        "10000",
    ] {
        assert_eq!(told(vec![opened(), text(2, "Где вы?"), text(3, words)])[2].1, None, "{words}");
    }
}

#[test]
fn a_phone_that_answers_the_question_makes_no_task_once_it_is_known() {
    let phone = "phone:+79163009906";
    let all = told(vec![opened(), text(2, "+7 916 300-99-06"), claim(2, phone)]);
    assert!(all.iter().all(|(heard, _)| *heard != Intent::Other), "{all:?}");
    let said = vec![opened(), text(2, "мой номер такой: 8 916 300 99 06, звоните"), claim(2, phone)];
    let all = told(said.clone());
    assert!(all.iter().all(|(heard, _)| *heard != Intent::Other), "{all:?}");
    let mut world = World::default();
    world.deliver(said);
    let person = world.people.values().find(|one| one.conversations().next().is_some()).expect("a person");
    let catalog = Catalog { bot_script: bot_script(), ..Catalog::default() };
    let mut link = CrmState::default();
    link.contact.id = Some(7);
    assert_eq!(plan(person, &link, &catalog, at(600)).task, None);
}
