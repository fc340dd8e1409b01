//! `[claims]`: whether a code confirms a phone or an e-mail that a person types in a chat, and the texts for it.

use std::collections::BTreeSet;

#[cfg(feature = "schemas")]
use schemars::JsonSchema;
use serde::Deserialize;
use stagedoor_engine::{Catalog, CodePolicy, Localised};
use stagedoor_model::Kind;
use stagedoor_texts::{Text as Usual, fans};
use toml::de::DeTable;

use crate::{
    Reading,
    conversation::{localised, strange_place},
    hub::HubRead,
    reader::{Reader, spot},
    schema::Text,
};

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimsSection {
    /// How a phone or an e-mail that is typed in a chat becomes theirs at once.
    pub confirm: Confirm,
    /// What phones begin with that get an SMS with a code, such as ["+7"]; else what those of [hub] region do.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Codes a day in all; one address and one chat get three.
    #[serde(default = "two_hundred")]
    pub codes_a_day: u32,
    /// The SMS, with {code}.
    pub sms: Option<Text>,
    pub subject: Option<Text>,
    /// The letter, with {code}.
    pub letter: Option<Text>,
    /// Said in the chat once a code is on its way.
    pub sent: Option<Text>,
    pub wrong: Option<Text>,
    /// Said when a code is over, or was tried three times.
    pub ended: Option<Text>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schemas", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// A code of six digits, by SMS or e-mail.
    Code,
}

fn two_hundred() -> u32 {
    200
}

fn text(own: Option<Text>, usual: &Usual) -> Localised {
    own.map_or_else(|| Localised::from(usual), localised)
}

impl Reader<'_> {
    pub(crate) fn claims(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, hub: Option<&HubRead>) {
        if matches!(self.reading, Reading::Receiving(_)) {
            return;
        }
        let Some((value, section)) = root.get("claims").zip(self.optional::<ClaimsSection>(root, "claims")) else {
            return;
        };
        let mut note = |key: &str, what: &str| self.errors.note(spot(value, key), format!("claims.{key}"), what);
        let Confirm::Code = section.confirm;
        let ways = [("sms", Kind::Phone), ("email", Kind::Email)];
        let kinds: BTreeSet<Kind> =
            ways.into_iter().filter(|(way, _)| catalog.senders.contains(*way)).map(|(_, kind)| kind).collect();
        if kinds.is_empty() {
            note("confirm", "a code goes by SMS or e-mail: add the section [sms] or [smtp]");
        }
        if hub.is_some_and(|hub| hub.section.link_key.is_none()) {
            note("confirm", "codes are drawn from [hub] link_key, which is missing");
        }
        let is_prefix = |one: &String| {
            one.strip_prefix('+').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        if !section.prefixes.iter().all(is_prefix) {
            note("prefixes", "expected a plus and digits, such as \"+7\"");
        }
        let sms = text(section.sms, &fans::code_sms("{code}"));
        let letter = text(section.letter, &fans::code_letter("{code}"));
        for (key, text) in [("sms", &sms), ("letter", &letter)] {
            if let Some(strange) = text.0.values().find_map(|text| strange_place(text, &["{code}"])) {
                note(key, &format!("{strange} stands for nothing; known is {{code}}"));
            }
            if text.0.values().any(|text| !text.contains("{code}")) {
                note(key, "the text has no {code}");
            }
        }
        let prefixes = match section.prefixes.is_empty() {
            true => hub.and_then(|hub| hub.region.prefix()).into_iter().collect(),
            false => section.prefixes,
        };
        catalog.bot_script.codes = Some(CodePolicy {
            kinds,
            prefixes,
            most: section.codes_a_day,
            sms,
            letter,
            subject: text(section.subject, &fans::code_subject()),
            sent: text(section.sent, &fans::code_sent()),
            wrong: text(section.wrong, &fans::code_wrong()),
            ended: text(section.ended, &fans::code_ended()),
        });
    }
}
