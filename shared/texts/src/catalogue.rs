use std::sync::OnceLock;

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use crate::{Arg, Language, reasons};

type Bundle = FluentBundle<FluentResource>;

macro_rules! subjects {
    ($($subject:ident),*) => {
        /// The files of both languages: subject, English, Russian.
        const FILES: &[(&str, &str, &str)] = &[$((
            stringify!($subject),
            include_str!(concat!("../en/", stringify!($subject), ".ftl")),
            include_str!(concat!("../ru/", stringify!($subject), ".ftl")),
        )),*];

        /// Returns all texts that the code can ask for, with their arguments.
        pub fn keys() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
            [$(crate::$subject::KEYS),*].into_iter().flatten().copied()
        }
    };
}

subjects!(alarms, commands, console, crm, fans, fields, invoices, notes, pages, reasons, tasks);

/// Returns the files of a language: subject and content.
pub fn source(language: Language) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().map(move |(subject, english, russian)| match language {
        Language::English => (*subject, *english),
        Language::Russian => (*subject, *russian),
    })
}

/// The catalogue of a language. It is read once.
fn bundle(language: Language) -> &'static Bundle {
    static ENGLISH: OnceLock<Bundle> = OnceLock::new();
    static RUSSIAN: OnceLock<Bundle> = OnceLock::new();
    let cell = match language {
        Language::English => &ENGLISH,
        Language::Russian => &RUSSIAN,
    };
    cell.get_or_init(|| {
        let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
        let mut bundle = Bundle::new_concurrent(vec![tag]);
        // Marks of direction around arguments would stand in the CRM as invisible characters.
        bundle.set_use_isolating(false);
        for (_, text) in source(language) {
            // What can be read of a file counts. A test shows that all of it can be read.
            let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(readable, _)| readable);
            _ = bundle.add_resource(resource);
        }
        bundle
    })
}

pub(crate) fn format(language: Language, key: &'static str, args: &[(&'static str, Arg)]) -> String {
    let bundle = bundle(language);
    let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
        return key.to_owned();
    };
    let values: FluentArgs<'_> = args
        .iter()
        .map(|(name, arg)| {
            let value = match arg {
                Arg::Word(word) => FluentValue::from(word.as_str()),
                Arg::Number(number) => FluentValue::from(*number),
                Arg::Text(text) => FluentValue::from(text.to(language)),
                Arg::Reason(reason) => FluentValue::from(reasons::translated(reason, language)),
                Arg::List(list) => {
                    FluentValue::from(list.iter().map(|text| text.to(language)).collect::<Vec<_>>().join(", "))
                }
            };
            (*name, value)
        })
        .collect();
    let mut errors = vec![];
    bundle.format_pattern(pattern, Some(&values), &mut errors).into_owned()
}
