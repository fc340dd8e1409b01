//! What a line of a chat is understood as: it follows from the lines before it alone.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "it is test code")]

mod world;

use std::collections::BTreeMap;

use stagedoor_engine::{
    Ask, BotScript, Catalog, CrmState, Intent, Localised, On, Person, Reply, next_turn, plan, turns,
};
use stagedoor_model::{
    Body, ChatRef, ChatStarted, Content, Conversation, Event, EventId, FormSubmitted, Identifier, Kind, MessageHeard,
    Messenger, Proof, Record, Region,
};
use world::{World, at, chat, issued, phone, shared, source, started};

fn reply(on: On, text: &str, ask: Option<Ask>) -> Reply {
    let text = Localised(BTreeMap::from([("ru".to_owned(), text.to_owned())]));
    Reply { on, campaign: None, text, button: None, ask }
}

fn bot_script() -> BotScript {
    let title = |text: &str| Localised(BTreeMap::from([("ru".to_owned(), text.to_owned())]));
    BotScript {
        codes: None,
        replies: vec![
            reply(On::Token, "token", None),
            reply(On::UsedToken, "used", Some(Ask::Phone)),
            reply(On::Start, "start", Some(Ask::Email)),
            reply(On::Menu(1, title("Когда")), "when", None),
            reply(On::Menu(3, title("Где")), "where", None),
            reply(On::Keyword(["цена".to_owned()].into()), "price", None),
            reply(On::Given, "given", None),
            reply(On::Wrong(Ask::Phone), "wrong phone", None),
            reply(On::Wrong(Ask::Email), "wrong e-mail", None),
            reply(On::Stop, "stop", None),
            reply(On::Other, "other", None),
        ],
        stop_words: ["стоп".to_owned()].into(),
        region: Region::new("RU").ok(),
        campaigns: BTreeMap::new(),
    }
}

fn line(second: i64, content: Content) -> Record {
    let body = MessageHeard { chat: ChatRef::of(chat(1)), message: second.to_string(), content };
    let id = EventId::derive(&source(), &["line", &second.to_string()]);
    let event = Event::new(&source(), id, at(second), Body::MessageReceived(body));
    stagedoor_engine::record_of(&event).expect("about a person")
}

fn text(second: i64, text: &str) -> Record {
    line(second, Content::Text(text.to_owned()))
}

fn opened(second: i64, may_write: bool) -> Record {
    let body = ChatStarted { chat: ChatRef::of(chat(1)), token: None, may_write, only_opened: !may_write };
    let id = EventId::derive(&source(), &["opened", &second.to_string()]);
    stagedoor_engine::record_of(&Event::new(&source(), id, at(second), Body::ChatStarted(body)))
        .expect("about a person")
}

/// What each line of the first chat was answered.
fn answers(records: Vec<Record>) -> Vec<(Intent, String)> {
    let mut world = World::default();
    world.deliver(records);
    let person: &Person = world
        .people
        .values()
        .find(|one| one.conversations().any(|(_, conversation)| conversation.chat == chat(1)))
        .expect("a person");
    let conversation: &Conversation =
        person.conversations().find(|(_, conversation)| conversation.chat == chat(1)).expect("a chat").1;
    let bot_script = bot_script();
    let all = turns(&bot_script, conversation, person).into_iter().map(|turn| {
        let texts: Vec<&str> = turn.replies.iter().map(|reply| reply.text.pick(None)).collect();
        (turn.heard, texts.join("+"))
    });
    all.collect()
}

fn texts(records: Vec<Record>) -> Vec<String> {
    answers(records).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn an_email_that_was_asked_for_is_checked_and_taken() {
    let said = vec![opened(1, true), text(2, "anna@"), text(3, "Anna@Example.com "), text(4, "anna@example.com")];
    let all = answers(said);
    assert_eq!(all[1].1, "wrong e-mail");
    assert_eq!(all[2], (Intent::Given("email:anna@example.com".parse().expect("valid")), "given".into()));
    assert_eq!(all[3].1, "given", "also when it is not asked for any more");
}

#[test]
fn a_phone_is_asked_of_whoever_came_through_a_used_link_and_digits_are_not_the_menu_then() {
    let world = vec![
        issued("t1", stagedoor_model::Purpose::Chat, phone(1), 0, 1_000),
        started(2, "t1", None, 5),
        started(1, "t1", None, 10),
        text(11, "8 916 13"),
        text(12, "8 (916) 123-45-09"),
    ];
    assert_eq!(texts(world), ["used", "wrong phone", "given"]);
}

#[test]
fn a_question_that_is_not_answered_is_dropped_for_what_was_said_instead() {
    assert_eq!(texts(vec![opened(1, true), text(2, "цена?"), text(3, "anna@")]), ["start", "price", "other"]);
}

#[test]
fn a_question_that_is_asked_instead_of_the_answer_is_a_managers_and_its_phone_is_kept() {
    let used = || vec![issued("t1", stagedoor_model::Purpose::Chat, phone(1), 0, 1_000), started(2, "t1", None, 5)];
    let said = |line: &str| {
        let mut all = used();
        all.extend([started(1, "t1", None, 10), text(11, line)]);
        texts(all).pop().expect("an answer")
    };
    for line in ["Заказ 1234567 оплачен, а билет не пришёл!", "На 28.05.2027 есть билеты по 1500?"]
    {
        assert_eq!(said(line), "other", "{line}");
    }
    for line in ["+7 916 123-45-09 Анна", "тел 8 916 123 45 09 звоните после 18:00", "anna@example.com."]
    {
        assert_eq!(said(line), "given", "{line}");
    }
    let complaint = "Заказ оплачен, билета нет, деньги списали дважды: перезвоните +7 916 123-45-09!";
    assert_eq!(said(complaint), "other");
}

#[test]
fn a_long_line_is_whole_in_the_note_and_short_in_the_field() {
    let long = format!("{} перезвоните", "ж".repeat(4_000));
    let mut world = World::default();
    world.deliver(vec![opened(1, true), text(2, &long)]);
    let person = world.people.values().next().expect("one");
    let plan = plan(person, &CrmState::default(), &Catalog::default(), stagedoor_model::Timestamp::UNIX_EPOCH);
    assert!(plan.note.expect("a note").text.contains("перезвоните"));
    let field = stagedoor_engine::chats(person, Default::default()).expect("a chat").last_message;
    assert!(field.chars().count() == 400 && field.ends_with('…'), "{field}");
}

#[test]
fn the_menu_takes_digits_words_and_titles_and_refuses_items_that_it_has_not() {
    for (said, expected) in [
        ("1 3", "when+where"),
        ("31", "where+when"),
        ("1, 3.", "when+where"),
        ("один", "when"),
        ("три один", "where+when"),
        ("3. Где", "where"),
        ("где", "where"),
        ("1 2", "other"),
        ("12", "other"),
        ("1 билет", "other"),
        ("11", "when"),
        ("0", "other"),
    ] {
        assert_eq!(texts(vec![text(1, said)]), [expected], "{said}");
    }
}

#[test]
fn a_stop_word_stops_where_a_message_begins_with_it_and_says_little_else() {
    for (said, expected) in [
        ("Стоп", "stop"),
        ("стоп!!", "stop"),
        ("Стоп, спасибо", "stop"),
        ("стоп-кран цена", "price"),
        ("не стоп", "other"),
    ] {
        assert_eq!(texts(vec![text(1, said)]), [expected], "{said}");
    }
}

#[test]
fn a_chat_that_may_not_be_written_to_is_answered_at_its_first_word() {
    assert_eq!(texts(vec![opened(1, false)]), Vec::<String>::new());
    assert_eq!(texts(vec![opened(1, false), text(2, "Получить промокод")]), ["start"], "and the word is the button's");
}

#[test]
fn a_picture_is_a_managers_a_sticker_is_nobodys_and_a_contact_is_given() {
    let other = |kind: &str, caption: Option<&str>| Content::Other {
        kind: kind.into(),
        caption: caption.map(str::to_owned),
        files: vec![],
    };
    assert_eq!(texts(vec![line(1, other("photo", None))]), ["other"]);
    assert_eq!(texts(vec![line(1, other("photo", Some("цена?")))]), ["price"]);
    assert_eq!(texts(vec![line(1, other("sticker", None))]), Vec::<String>::new());
    assert_eq!(texts(vec![shared(1, phone(1), 1)]), ["given"]);
}

#[test]
fn every_line_is_in_one_note_and_a_note_holds_what_a_crm_takes() {
    let mut world = World::default();
    let mut records = vec![shared(1, phone(1), 0)];
    for n in 0..90_u8 {
        let kind = [
            Kind::Chat(Messenger::Telegram),
            Kind::Chat(Messenger::Viber),
            Kind::Chat(Messenger::Vk),
            Kind::Chat(Messenger::Messenger),
        ][usize::from(n % 4)];
        let mut chat = ChatRef::of(Identifier::opaque(kind, "", "700001").expect("valid"));
        chat.also.insert(phone(1));
        let content = Content::Other {
            kind: "photo".into(),
            caption: Some(format!("№{n} {}", "ж".repeat(2_000))),
            files: vec![],
        };
        let body = MessageHeard { chat, message: n.to_string(), content };
        let id = EventId::derive(&source(), &["long", &n.to_string()]);
        let event = Event::new(&source(), id, at(i64::from(n)), Body::MessageReceived(body));
        records.push(stagedoor_engine::record_of(&event).expect("about a person"));
    }
    world.deliver(records);
    assert_eq!(world.people.len(), 1);
    let person = world.people.values().next().expect("one");
    let (mut link, mut notes) = (CrmState::default(), Vec::new());
    while let Some(note) = plan(person, &link, &Catalog::default(), stagedoor_model::Timestamp::UNIX_EPOCH)
        .note
        .filter(|_| notes.len() < 20)
    {
        assert!(note.text.chars().count() <= 16_000, "{}", note.text.chars().count());
        link.noted.extend(note.lines);
        notes.push(note.text);
    }
    for n in 0..90 {
        assert_eq!(notes.iter().filter(|note| note.contains(&format!("№{n} "))).count(), 1, "№{n}");
    }
}

fn picture(second: i64, n: u64) -> Record {
    let content = Content::Other { kind: "photo".into(), caption: None, files: vec![format!("file{n}")] };
    let body = MessageHeard { chat: ChatRef::of(chat(1)), message: n.to_string(), content };
    let id = EventId::derive(&source(), &["picture", &n.to_string()]);
    let event = Event::new(&source(), id, at(second), Body::MessageReceived(body)).ordered(n);
    stagedoor_engine::record_of(&event).expect("about a person")
}

fn person_of(records: Vec<Record>) -> Person {
    let mut world = World::default();
    world.deliver(records);
    world.people.into_values().next().expect("a person")
}

#[test]
fn an_album_gets_one_answer_and_one_note() {
    let pictures = || (0..6).map(|n| picture(i64::try_from(n).expect("small") / 3, n)).collect::<Vec<_>>();
    let answered = answers(pictures()).into_iter().filter(|(_, text)| !text.is_empty()).count();
    assert_eq!(answered, 1, "a manager will answer");
    let person = person_of(pictures());
    // More pictures may come: the note waits, and the person is looked at again.
    let (link, catalog) = (CrmState::default(), Catalog::default());
    assert_eq!(plan(&person, &link, &catalog, at(2)).note, None);
    assert_eq!(next_turn(&person, &link, at(2)), Some(at(4)));
    let note = plan(&person, &link, &catalog, at(4)).note.expect("one note");
    assert_eq!((note.lines.len(), next_turn(&person, &link, at(4))), (6, None));
}

#[test]
fn another_robot_is_answered_a_few_times_and_then_a_manager_has_a_task() {
    // It answers each of our answers after some seconds, with a number that changes; or says a word of ours.
    for (words, pause) in [("Ваше обращение принято", 5), ("Наша цена вас удивит", 20), ("Какая цена?", 600)]
    {
        let robot = (0..200).map(|n| text(n * pause, &format!("{words} № {n}"))).collect::<Vec<_>>();
        let answered = answers(robot.clone()).into_iter().filter(|(_, text)| !text.is_empty()).count();
        let days = usize::try_from(200 * pause / 86_400).expect("small") + 1;
        assert!((1..=6 * days).contains(&answered), "{words}: {answered} answers in {days} days");
        let catalog = Catalog { bot_script: bot_script(), ..Catalog::default() };
        let task = plan(&person_of(robot), &CrmState::default(), &catalog, at(1_000_000)).task;
        assert!(task.is_some(), "{words}: a manager looks");
    }
}

#[test]
fn a_person_who_asks_one_thing_after_another_is_answered_each_time() {
    let asked = (0..10).map(|n| text(n * 30, if n % 2 == 0 { "1" } else { "какая цена?" })).collect::<Vec<_>>();
    assert!(answers(asked).into_iter().all(|(_, text)| !text.is_empty()));
    let days = (0..5).map(|n| text(n * 7_200, "А можно с собакой?")).collect::<Vec<_>>();
    assert!(answers(days).into_iter().all(|(_, text)| text == "other"));
}

#[test]
fn lines_of_one_second_keep_the_order_in_which_the_messenger_counts_them() {
    let words = ["Я купил билет", "но пришли ДВА письма", "первое отмените", "второе оставьте", "НЕ отменяйте второе"];
    let line = |(n, words): (usize, &&str)| {
        let content = Content::Text((*words).to_owned());
        let body = MessageHeard { chat: ChatRef::of(chat(1)), message: n.to_string(), content };
        let id = EventId::derive(&source(), &["line", &n.to_string()]);
        let event = Event::new(&source(), id, at(0), Body::MessageReceived(body)).ordered(900 + n as u64);
        stagedoor_engine::record_of(&event).expect("about a person")
    };
    let mut records: Vec<Record> = words.iter().enumerate().map(line).collect();
    records.reverse();
    let note = plan(&person_of(records), &CrmState::default(), &Catalog::default(), at(60)).note.expect("a note");
    let places: Vec<usize> = words.iter().map(|words| note.text.find(words).expect("noted")).collect();
    assert!(places.is_sorted(), "{}", note.text);
}

#[test]
fn one_line_that_is_delivered_twice_stands_once_whenever_it_was_received() {
    let twice = |order: u64| {
        let Record { fact, .. } = &text(5, "Когда начало?");
        let stagedoor_model::Fact::Conversation(conversation) = fact else { panic!("a chat") };
        let mut conversation = conversation.as_ref().clone();
        let line = conversation.lines.pop_first().expect("a line");
        conversation.lines.insert(stagedoor_model::Message { order, ..line });
        conversation
    };
    let joined = twice(8).join(twice(4));
    assert_eq!((joined.lines.len(), joined.lines.first().map(|line| line.order)), (1, Some(4)));
    assert_eq!(joined, twice(4).join(twice(8)));
}

#[test]
fn a_menu_line_that_a_messenger_shows_in_part_is_known_by_its_beginning() {
    let mut bot_script = bot_script();
    let title =
        Localised(BTreeMap::from([("ru".to_owned(), "Как добраться до театра и где оставить машину".to_owned())]));
    bot_script.replies.push(reply(On::Menu(2, title), "way", None));
    for said in [
        "2. Как добраться до театра и где остави…",
        "2. Как добраться до театра и где оставит",
        "КАК ДОБРАТЬСЯ до театра и",
    ] {
        let person = person_of(vec![text(1, said)]);
        let conversation = person.conversations().next().expect("a chat").1;
        let heard: Vec<Intent> = turns(&bot_script, conversation, &person).into_iter().map(|turn| turn.heard).collect();
        assert_eq!(heard, [Intent::Menu(vec![2])], "{said}");
    }
}

#[test]
fn a_keyword_is_the_same_with_either_letter() {
    let mut bot_script = bot_script();
    bot_script.replies.push(reply(On::Keyword(["почём".to_owned()].into()), "price", None));
    for said in ["Почем билеты?", "Почём билеты?"] {
        let person = person_of(vec![text(1, said)]);
        let conversation = person.conversations().next().expect("a chat").1;
        assert_eq!(
            turns(&bot_script, conversation, &person).first().map(|turn| turn.heard.clone()),
            Some(Intent::Keyword),
            "{said}"
        );
    }
}

#[test]
fn a_chat_with_an_invisible_name_is_shown_by_its_id() {
    for (name, shown) in [("\u{3164}", "Telegram: 700001"), (".", "Telegram: 700001"), ("Анна", "Telegram: Анна")]
    {
        let mut chat = ChatRef::of(chat(1));
        chat.profile.nickname = Some(name.to_owned());
        let heard =
            MessageHeard { chat, message: "1".into(), content: Content::Text("Здравствуйте".into()) };
        let event = Event::new(&source(), EventId::derive(&source(), &["n"]), at(1), Body::MessageReceived(heard));
        let person = person_of(stagedoor_engine::record_of(&event).into_iter().collect());
        assert_eq!(stagedoor_engine::chats(&person, Default::default()).expect("a chat").chat, shown, "{name:?}");
    }
}

#[test]
fn a_note_says_where_lines_were_dropped_before_it() {
    let mut world = World::default();
    let say = |n: i64| line(n, Content::Text(format!("строка {n}.")));
    world.deliver((1..300).map(say).collect());
    let mut link = CrmState::default();
    let note = |world: &World, link: &CrmState| {
        let person = world.people.values().next().expect("one");
        plan(person, link, &Catalog::default(), stagedoor_model::Timestamp::UNIX_EPOCH).note
    };
    let first = note(&world, &link).expect("a note");
    assert!(first.text.starts_with("… ") && first.text.contains("may be missing here"), "{}", first.text);
    assert!(!first.text.contains("строка 1.") && first.text.contains("строка 299."), "{}", first.text);
    link.noted.extend(first.lines);
    assert!(note(&world, &link).is_none());
    world.deliver(vec![say(300)]);
    let next = note(&world, &link).expect("a note");
    assert!(
        next.text.contains("строка 300.") && !next.text.contains("missing"),
        "what was dropped now was noted: {}",
        next.text
    );
}

#[test]
fn a_changed_text_stops_and_is_answered_no_second_time() {
    let edited = |second: i64, text: &str| {
        line(second, Content::Other { kind: Content::EDITED.into(), caption: Some(text.into()), files: vec![] })
    };
    let all = answers(vec![opened(1, true), text(2, "цена?"), edited(3, "Цена?"), edited(4, "СТОП")]);
    let told: Vec<&str> = all.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((told, &all[3].0), (vec!["start", "price", "", ""], &Intent::Stop));
    let quote = Content::Other { kind: Content::QUOTE.into(), caption: Some("> стоп".into()), files: vec![] };
    let all = answers(vec![opened(1, true), line(2, quote), text(3, "1")]);
    assert_eq!(
        all.into_iter().map(|(_, text)| text).collect::<Vec<_>>(),
        ["start", "when"],
        "others' words stop nothing"
    );
    let all = answers(vec![opened(1, true), text(2, "anna@"), edited(3, "anna@example.com")]);
    assert_eq!(all[2], (Intent::Given("email:anna@example.com".parse().expect("valid")), String::new()));
}

/// Viber opens the chat before the person may be written to. Their first words allow it.
#[test]
fn the_first_words_in_a_chat_that_was_only_opened_count_beside_the_greeting() {
    let first = |said: &str| {
        let all = answers(vec![opened(1, false), text(2, said), text(3, "1")]);
        // A typed address becomes a line of its own, and that line is greeted.
        let next = if said.contains('@') { "start+when" } else { "when" };
        assert_eq!(all.last().map(|(_, text)| text.as_str()), Some(next), "{said}");
        all.into_iter().next().expect("an answer")
    };
    assert_eq!(first("СТОП"), (Intent::Stop, "stop".into()));
    assert_eq!(first("Заказ 1234567 оплачен, а билет не пришёл!"), (Intent::Other, "start+other".into()));
    assert_eq!(first("Добрый день!"), (Intent::Start, "start".into()), "a greeting asks nothing");
    assert_eq!(first("где мой билет"), (Intent::Other, "start+other".into()), "many leave out the question mark");
    assert_eq!(first("какая цена?"), (Intent::Keyword, "start+price".into()));
    let anna = "email:anna@example.com".parse().expect("valid");
    assert_eq!(first("anna@example.com"), (Intent::Given(anna), "given".into()));
    let sticker = Content::Other { kind: "sticker".into(), caption: None, files: vec![] };
    let all = answers(vec![opened(1, false), line(2, sticker)]);
    assert_eq!(all, [(Intent::Start, "start".into())], "it says nothing else");
}

#[test]
fn a_chat_that_a_link_opened_is_greeted_and_wishes_for_nothing() {
    let body = ChatStarted { chat: ChatRef::of(chat(1)), token: None, may_write: true, only_opened: true };
    let event = Event::new(&source(), EventId::derive(&source(), &["ad"]), at(1), Body::ChatStarted(body));
    let all = answers(vec![stagedoor_engine::record_of(&event).expect("about a person")]);
    assert_eq!(all, [(Intent::Opened, "start".into())]);
}

#[test]
fn a_word_behind_start_that_is_no_link_of_ours_reaches_the_note() {
    let token = stagedoor_model::Token::parse("refund-word02");
    let body = ChatStarted { chat: ChatRef::of(chat(1)), token, may_write: true, only_opened: false };
    let event = Event::new(&source(), EventId::derive(&source(), &["opened"]), at(5), Body::ChatStarted(body));
    let mut world = World::default();
    world.deliver(vec![stagedoor_engine::record_of(&event).expect("about a person"), text(6, "цена?")]);
    let person = world.people.values().next().expect("a person");
    let note =
        plan(person, &CrmState::default(), &Catalog { bot_script: bot_script(), ..Catalog::default() }, at(100)).note;
    let note = note.expect("a note").text;
    assert!(note.contains("refund-word02"), "{note}");
}

#[test]
fn what_somebody_wrote_into_a_form_reaches_the_managers_note_once() {
    let labels = [("comment", "Можно ли с собакой?"), ("utm_source", "vk"), ("variant", "b7")];
    let form = |proof| FormSubmitted {
        identifiers: [phone(1)].into(),
        proof,
        name: None,
        form: Some("Вопрос".into()),
        show: None,
        amount: None,
        consents: vec![],
        labels: labels.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        company: None,
    };
    let id = EventId::derive(&source(), &["form"]);
    let event = Event::new(&source(), id, at(5), Body::FormSubmitted(form(Proof::Signed)));
    let mut world = World::default();
    world.deliver(vec![stagedoor_engine::record_of(&event).expect("about a person")]);
    let person = world.people.values().next().expect("a person");
    let mut link = CrmState::default();
    let note = plan(person, &link, &Catalog::default(), at(100)).note.expect("a note");
    assert!(note.text.contains("form \"Вопрос\" ▸ comment: Можно ли с собакой?"), "{}", note.text);
    assert!(!note.text.contains("utm_source") && !note.text.contains("b7"), "{}", note.text);
    link.noted.extend(note.lines);
    let next = plan(person, &link, &Catalog::default(), at(200));
    assert!(next.note.is_none() && next.marks.is_superset(&link.noted), "once");
    let late = plan(person, &CrmState::default(), &Catalog::default(), at(5 + 4 * 86_400));
    assert!(late.note.is_none(), "what came before notes told of forms floods nobody");
}
