use std::sync::OnceLock;

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use crate::{Arg, Language, MARK, Text, reasons::KEYS};

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
                Arg::Reason(reason) => FluentValue::from(translated(reason, language)),
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

impl Text {
    /// Returns the text in a language. If the catalogue lacks the text, its key appears.
    pub fn to(&self, language: Language) -> String {
        format(language, self.key, &self.args)
    }

    /// Returns what stands before and after the argument [`MARK`], to find that argument in a text that was written
    /// before.
    pub fn around(&self, language: Language) -> (String, String) {
        let text = self.to(language);
        let (before, after) = text.split_once(MARK).unwrap_or((&text, ""));
        (before.to_owned(), after.to_owned())
    }

    /// Returns the text in every language.
    pub fn to_all(&self) -> [(Language, String); 2] {
        Language::ALL.map(|language| (language, self.to(language)))
    }
}

/// Returns an English reason in another language, with the reasons within it. A reason that is not in the catalogue stays
/// as it is.
pub fn translated(reason: &str, language: Language) -> String {
    let fitting = KEYS.iter().find_map(|(key, args)| {
        let marks: Vec<(&'static str, Arg)> = args.iter().map(|arg| (*arg, Arg::from(MARK))).collect();
        let names = parts(&format(Language::English, key, &marks), reason)?;
        Some((*key, args.iter().copied().zip(names).collect::<Vec<_>>()))
    });
    let Some((key, named)) = fitting else { return reason.to_owned() };
    let args: Vec<(&'static str, Arg)> =
        named.into_iter().map(|(arg, name)| (arg, translated(name, language).into())).collect();
    format(language, key, &args)
}

/// The texts in the places of a pattern, if the text fits it.
fn parts<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut pieces = pattern.split(MARK).peekable();
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut names = Vec::new();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        let end = match (is_last, piece.is_empty()) {
            (true, true) => rest.len(),
            (true, false) => rest.len().checked_sub(piece.len()).filter(|_| rest.ends_with(piece))?,
            (false, _) => rest.find(piece)?,
        };
        names.push(rest.get(..end)?);
        rest = rest.get(end + piece.len()..)?;
    }
    (rest.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(names)
}
