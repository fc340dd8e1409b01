//! The catalogues agree with the code and with each other.
#![allow(clippy::panic, reason = "it is test code")]

use std::collections::{BTreeMap, BTreeSet};

use fluent_syntax::{
    ast::{Entry, Expression, InlineExpression, Pattern, PatternElement, VariantKey},
    parser,
};
use stagedoor_texts::{Language, crm, keys, reasons, source, tasks};

/// What a message holds: its arguments, and the variants of each of its choices by the argument.
#[derive(Default)]
struct Message {
    args: BTreeSet<String>,
    choices: Vec<(String, BTreeSet<String>)>,
}

fn read(pattern: &Pattern<&str>, into: &mut Message) {
    for element in &pattern.elements {
        let PatternElement::Placeable { expression } = element else { continue };
        match expression {
            Expression::Inline(inline) => inline_of(inline, into),
            Expression::Select { selector, variants } => {
                inline_of(selector, into);
                let named = variants.iter().map(|variant| match &variant.key {
                    VariantKey::Identifier { name } => (*name).to_owned(),
                    VariantKey::NumberLiteral { value } => (*value).to_owned(),
                });
                if let InlineExpression::VariableReference { id } = selector {
                    into.choices.push((id.name.to_owned(), named.collect()));
                }
                variants.iter().for_each(|variant| read(&variant.value, into));
            }
        }
    }
}

fn inline_of(inline: &InlineExpression<&str>, into: &mut Message) {
    match inline {
        InlineExpression::VariableReference { id } => _ = into.args.insert(id.name.to_owned()),
        InlineExpression::StringLiteral { .. } => {}
        other => panic!("the catalogues have words and arguments only: {other:?}"),
    }
}

fn messages(language: Language) -> BTreeMap<String, Message> {
    let mut all = BTreeMap::new();
    for (subject, text) in source(language) {
        let resource = parser::parse(text).unwrap_or_else(|(_, errors)| panic!("{language:?} {subject}: {errors:?}"));
        for entry in resource.body {
            let Entry::Message(message) = entry else { continue };
            let name = message.id.name.to_owned();
            assert!(name.starts_with(&format!("{subject}_")), "{name} stands in {subject}.ftl");
            assert!(message.attributes.is_empty(), "{name}");
            let mut held = Message::default();
            read(message.value.as_ref().expect("a value"), &mut held);
            assert!(all.insert(name.clone(), held).is_none(), "{name} stands there twice");
        }
    }
    all
}

#[test]
fn both_languages_hold_every_text_of_the_code_with_its_arguments_and_no_other() {
    let wanted: BTreeMap<String, BTreeSet<String>> =
        keys().map(|(key, args)| (key.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect())).collect();
    assert_eq!(wanted.len(), keys().count(), "a text is declared twice");
    for language in Language::ALL {
        let held: BTreeMap<String, BTreeSet<String>> =
            messages(language).into_iter().map(|(name, message)| (name, message.args)).collect();
        for (key, args) in &wanted {
            assert_eq!(held.get(key), Some(args), "{language:?} {key}");
        }
        let unknown: Vec<&String> = held.keys().filter(|key| !wanted.contains_key(*key)).collect();
        assert!(unknown.is_empty(), "no code asks for these texts in {language:?}: {unknown:?}");
    }
}

#[test]
fn a_number_has_all_its_plural_forms() {
    let categories = ["zero", "one", "two", "few", "many", "other"];
    let forms = [(Language::English, ["one", "other"].as_slice()), (Language::Russian, &["one", "few", "many"])];
    for (language, wanted) in forms {
        let wanted: BTreeSet<String> = wanted.iter().map(|form| (*form).to_owned()).collect();
        for (name, message) in messages(language) {
            for (arg, variants) in message.choices {
                // A choice by a word has a default alone in common with plural forms.
                let is_plural = variants.iter().any(|one| categories.contains(&one.as_str()) && one != "other");
                assert!(!is_plural || variants == wanted, "{language:?} {name} ${arg}: {variants:?}");
            }
        }
    }
}

#[test]
fn russian_counts_as_russians_do() {
    let letters = |count: usize| crm::letters(count, 0_usize, 0_usize).to(Language::Russian);
    for (count, told) in [(1, "1 письмо"), (2, "2 письма"), (5, "5 писем"), (11, "11 писем"), (21, "21 письмо")]
    {
        assert_eq!(letters(count), format!("{told}, 0 прочитано, 0 переходов"));
    }
    let twice = tasks::paid_twice("10 RUB", "20 RUB", 2_usize);
    assert_eq!(twice.to(Language::Russian), "оплачен дважды: к оплате 10 RUB, получено 20 RUB за 2 платежа");
}

#[test]
fn a_text_within_a_text_is_in_the_same_language_and_no_marks_stand_around_it() {
    let text = tasks::order("17", tasks::too_much("10 RUB", "12 RUB"));
    assert_eq!(
        text.to_all().map(|(_, text)| text),
        [
            "Order 17 was paid with too much: asked for 10 RUB, received 12 RUB. \
             Decide what is to be returned or asked for.",
            "Заказ 17 оплачен с избытком: к оплате 10 RUB, получено 12 RUB. Решите, что вернуть или дополучить.",
        ]
    );
}

#[test]
fn a_word_of_a_stranger_stays_as_it_is() {
    let name = "{ $kind } \u{2068}\"\\u0041\" \n  .attribute = [one]";
    assert_eq!(stagedoor_texts::notes::form(name).to(Language::English), format!("form \"{name}\""));
}

#[test]
fn a_language_is_known_by_its_tag() {
    for (tag, language) in [
        ("ru", Some(Language::Russian)),
        ("ru-RU", Some(Language::Russian)),
        ("EN_us", Some(Language::English)),
        ("de", None),
    ] {
        assert_eq!(Language::of_tag(tag), language, "{tag}");
    }
}

#[test]
fn a_reason_is_put_into_russian_with_its_names() {
    for (english, russian) in [
        ("the CRM refuses us: the account is not paid", "CRM не пускает хаб: аккаунт не оплачен"),
        (
            "second CRM: the CRM cannot be used now: it answers 502 instead of its webservice; check the address of the CRM if that lasts",
            "вторая CRM: CRM сейчас недоступна: отвечает 502 вместо веб-сервиса; если это надолго, проверьте адрес CRM",
        ),
        (
            "the CRM has no stage \"Оплачено\" in pipeline \"Тур\"; make it there or change the config",
            "в CRM нет этапа \"Оплачено\" в воронке \"Тур\"; создайте его или измените конфигурацию",
        ),
        ("something new", "something new"),
    ] {
        assert_eq!(reasons::translated(english, Language::Russian), russian);
    }
}
