//! What managers read in the CRM is in the hub's language.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use stagedoor_model::{
    Body, Channel, ChatRef, ConsentClaim, Content, Event, EventId, MARKETING, MessageHeard, Money, Payment,
    PaymentKind, PaymentReported, SourceName,
};
use stagedoor_tests::account::{Account, Which};
use stagedoor_texts::Language;

use crate::{
    crashes::{form, identifiers, order},
    stages::changed,
};

crate::promises!(
    a_russian_hub_writes_russian_into_the_crm,
    a_hub_without_a_language_writes_what_it_always_wrote,
    another_language_rewrites_deals_and_makes_nothing_twice,
);

const ANNA: [&str; 1] = ["phone:+79161110001"];

/// Anna consents, asks in a chat, pays twice, and cancels another order that she paid.
fn told() -> Vec<Event> {
    let shop = SourceName::new("theatre").expect("a name");
    let paid = |n: i64, payment: &str| {
        let at = order(n, &ANNA).time;
        let amount = Money { minor: 170_000, currency: "RUB".into() };
        let body = PaymentReported {
            shop: None,
            order: Some(n.to_string()),
            payment: payment.to_owned(),
            references: [payment.to_owned()].into(),
            detail: Payment { at, kind: PaymentKind::Received, amount },
        };
        let source = order(n, &ANNA).source;
        Event::new(&source, EventId::derive(&source, &["payment", payment]), at, Body::PaymentReported(body))
    };
    let mut asked = form(1, &ANNA);
    if let Body::FormSubmitted(form) = &mut asked.body {
        let claim = ConsentClaim { purpose: MARKETING.into(), channel: Channel::Call, given: true, wording: None };
        form.consents.push(claim);
        form.labels = BTreeMap::from([("comment".to_owned(), "a box".to_owned())]);
        form.form = Some("Landing".to_owned());
    }
    let chat = ChatRef { also: identifiers(&ANNA), ..ChatRef::of("telegram:77".parse().expect("an identifier")) };
    let content = Content::Other { kind: "voice".into(), caption: None, files: vec![] };
    let heard = MessageHeard { chat, message: "5".into(), content };
    // A note waits for the other pictures of an album.
    let now = stagedoor_model::Timestamp::now() - jiff::SignedDuration::from_secs(10);
    let voice = Event::new(&shop, EventId::derive(&shop, &["chat"]), now, Body::MessageReceived(heard));
    asked.time = now;
    // The total is more than the ticket: the rest is a line of fees.
    let bought = changed(2, 2, &ANNA, |order| (order.total.minor, order.paid.minor) = (170_000, 170_000));
    vec![asked, voice, bought, paid(2, "pi_1"), paid(2, "pi_2")]
}

async fn filled(which: Which, language: Language) -> Account {
    let account = Account::speaking(which, language).await;
    assert!(account.sync.handle(told()).await.is_empty());
    account.reconcile().await;
    account
}

/// All that stands in the CRM, in one text.
fn all(account: &Account, which: Which) -> String {
    let rows = match which {
        Which::Amo => {
            let sandbox = account.amocrm();
            [sandbox.contacts(), sandbox.leads(), sandbox.notes(), sandbox.tasks()].concat()
        }
        Which::Vtiger => {
            let modules = ["Contacts", "Potentials", "ModComments", "Calendar", "Invoice"];
            modules.iter().flat_map(|module| account.vtiger().records(module)).collect()
        }
    };
    rows.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

async fn a_russian_hub_writes_russian_into_the_crm(which: Which) {
    let account = filled(which, Language::Russian).await;
    let written = all(&account, which);
    for text in [
        "Заказ 2 оплачен дважды: к оплате 1700.00 RUB, получено 3400.00 RUB за 2 платежа. Решите, что вернуть",
        "переплачено",
        "звонки: да, ",
        "▸ [голосовое сообщение]",
        "\"[голосовое сообщение]\"",
        "форма «Landing» ▸ comment: a box",
    ] {
        assert!(written.contains(text), "{text:?} is missing in {written}");
    }
    for text in ["overpaid", "calls: yes", "paid twice", "[voice]", "Decide"] {
        assert!(!written.contains(text), "{text:?} stands in {written}");
    }
}

async fn a_hub_without_a_language_writes_what_it_always_wrote(which: Which) {
    let account = filled(which, Language::default()).await;
    let written = all(&account, which);
    for text in [
        "Order 2 was paid twice: asked for 1700.00 RUB, received 3400.00 RUB in 2 payments. Decide what is to be",
        "overpaid",
        "calls: yes, ",
        "▸ [voice]",
    ] {
        assert!(written.contains(text), "{text:?} is missing in {written}");
    }
}

/// Rows of deals, tasks, notes and invoices.
fn counts(account: &Account, which: Which) -> Vec<usize> {
    match which {
        Which::Amo => {
            let sandbox = account.amocrm();
            vec![sandbox.leads().len(), sandbox.tasks().len(), sandbox.notes().len()]
        }
        Which::Vtiger => {
            let modules = ["Potentials", "Calendar", "ModComments", "Invoice"];
            modules.map(|module| account.vtiger().records(module).len()).to_vec()
        }
    }
}

async fn another_language_rewrites_deals_and_makes_nothing_twice(which: Which) {
    let mut account = filled(which, Language::English).await;
    let before = counts(&account, which);
    account.speak(Language::Russian);
    // Something happens to her that changes no deal, so she is compared with the CRM again.
    let mut anew = form(3, &ANNA);
    if let Body::FormSubmitted(form) = &mut anew.body {
        let claim = ConsentClaim { purpose: MARKETING.into(), channel: Channel::Sms, given: true, wording: None };
        form.consents.push(claim);
    }
    assert!(account.sync.handle(vec![anew]).await.is_empty());
    account.reconcile().await;
    let written = all(&account, which);
    assert!(written.contains("переплачено") && written.contains("звонки: да"), "{written}");
    assert_eq!(counts(&account, which), before);
    if which == Which::Vtiger {
        let invoices = account.vtiger().records("Invoice");
        assert!(invoices.iter().all(|one| one["invoicestatus"] == "Paid"), "{invoices:?}");
        assert!(invoices.iter().all(|one| one["description"].to_string().contains("получено")), "{invoices:?}");
    }
}

/// Production files with Russian words that are no texts: they are read from people, or belong to the pretended world
/// of the tour. Everything that the hub says to people stands in the catalogues.
const RUSSIAN_WORDS: &[(&str, &str)] = &[
    ("functions/crm/src/amocrm.rs", "tags that managers write"),
    ("functions/messaging/src/vk.rs", "words that begin a chat"),
    ("functions/sync/src/placeholders.rs", "words that join a city to a text"),
    ("functions/ticketing/src/timepad.rs", "names of questions in forms"),
    ("functions/website/src/consents.rs", "words of forms"),
    ("infra/local/src/import.rs", "words of files"),
    ("infra/local/src/month.rs", "the pretended month"),
    ("infra/local/src/month/fans.rs", "the pretended month"),
    ("infra/local/src/month/summary.rs", "the pretended month"),
    ("infra/local/src/serve/mod.rs", "stages of every amoCRM account"),
    ("infra/local/src/ufa.rs", "the pretended tour"),
    ("infra/sandbox/src/messengers/max.rs", "the pretended bot"),
    ("infra/sandbox/src/middleware.rs", "what amoCRM answers"),
    ("infra/sandbox/src/oauth.rs", "what amoCRM answers"),
    ("infra/sandbox/src/rows.rs", "what amoCRM answers"),
    ("infra/sandbox/src/setup.rs", "what stands in a new account"),
    ("infra/sandbox/src/state.rs", "what stands in a new account"),
    ("shared/channels/src/smtp.rs", "the letters by which a text is Russian"),
    ("shared/engine/src/bot.rs", "a letter that is written in two ways"),
    ("shared/engine/src/bot/menu.rs", "numbers in words"),
    ("shared/model/src/company.rs", "legal forms"),
    ("shared/model/src/identifier.rs", "ids that name nobody"),
    ("shared/model/src/name.rs", "names"),
    ("shared/model/src/record.rs", "a letter that is written in two ways"),
    ("shared/model/src/stop_words.rs", "stop words"),
    ("shared/model/src/stop_words/lists.rs", "stop words"),
    ("shared/model/src/token.rs", "words that a link fills in"),
    ("shared/testkit", "the pretended fans"),
    ("shared/webhook/src/read.rs", "words of boxes in forms"),
];

/// The code of a file without comments and without its tests.
fn production(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect()
}

fn rust_files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && !["tests", "target", "prebuilt"].contains(&name.as_str()) {
            rust_files(&path, all);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            all.push(path);
        }
    }
}

#[test]
fn russian_texts_stand_in_the_catalogues_alone() {
    let root = stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository");
    let mut files = Vec::new();
    ["shared", "functions", "infra"].iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    let is_russian = |line: &str| line.chars().any(|c| matches!(c, 'а'..='я' | 'А'..='Я' | 'ё' | 'Ё'));
    let (mut wrong, mut needed) = (Vec::new(), BTreeSet::new());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a file");
        let name = path.strip_prefix(&root).expect("inside").to_string_lossy().into_owned();
        let Some(line) = production(&text).into_iter().find(|line| is_russian(line)) else { continue };
        match RUSSIAN_WORDS.iter().find(|(known, _)| name.starts_with(known)) {
            Some((known, _)) => _ = needed.insert(*known),
            None => wrong.push(format!("{name}: {line}")),
        }
    }
    assert!(wrong.is_empty(), "these texts belong into shared/texts:\n{}", wrong.join("\n"));
    let idle: Vec<&str> = RUSSIAN_WORDS.iter().map(|(name, _)| *name).filter(|name| !needed.contains(name)).collect();
    assert!(idle.is_empty(), "no Russian words are left in {idle:?}");
}

#[test]
fn every_text_is_used() {
    let root = stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository");
    let mut files = Vec::new();
    ["shared", "functions", "infra"].iter().for_each(|folder| rust_files(&root.join(folder), &mut files));
    let of_texts = root.join("shared/texts");
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a file");
    let code: String = files.iter().filter(|path| !path.starts_with(&of_texts)).map(read).collect();
    // Reasons are found by their English words, not by their names.
    let named = stagedoor_texts::keys().map(|(key, _)| key.split_once('_').expect("subject and name"));
    let named = named.filter(|(subject, _)| *subject != "reasons");
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_used = |name: &str| code.split(&format!("::{name}")).skip(1).any(ends);
    let idle: Vec<_> = named.filter(|(_, name)| !is_used(name)).collect();
    assert!(idle.is_empty(), "nobody asks for these texts: {idle:?}");
}
