//! Pools of promo codes. Their codes stand in the config or in a file beside it, or are drawn.

use std::collections::BTreeSet;

use stagedoor_engine::{Catalog, Pool};
use stagedoor_model::LinkKey;
use stagedoor_webhook::Secret;
use toml::de::DeTable;

use crate::{
    hub::HubRead,
    reader::{Reader, Value, spot, table},
    schema::PromoSection,
};

/// Maximum number of codes that a pool draws. It is more than a stadium has seats.
const LARGEST: u32 = 200_000;

impl Reader<'_> {
    pub(crate) fn pools(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, hub: Option<&HubRead>) {
        for (name, value) in table(root, "promo") {
            let place = format!("promo.{name}");
            let Some(section) = self.read::<PromoSection>(value, &place) else { continue };
            let expires_at = section.expires_at.as_ref().and_then(|text| self.time(text, value, "expires_at", &place));
            let Some(codes) = self.codes(&name, &section, value, hub) else { continue };
            let key = if section.codes_file.is_some() { "codes_file" } else { "codes" };
            for code in &codes {
                if catalog.pool_of_code.insert(code.to_uppercase(), name.clone()).is_some() {
                    self.errors.note(spot(value, key), format!("{place}.{key}"), "a code is there twice");
                    break;
                }
            }
            let pool = Pool { name: name.clone(), codes, shared: section.shared, expires_at };
            catalog.pools.insert(name, pool);
        }
    }

    fn codes(
        &mut self,
        name: &str,
        section: &PromoSection,
        value: &Value<'_>,
        hub: Option<&HubRead>,
    ) -> Option<Vec<String>> {
        let place = format!("promo.{name}");
        match (section.codes.is_empty(), &section.codes_file, section.size) {
            (false, None, None) => Some(section.codes.clone()),
            (true, Some(file), None) => self.codes_of_file(file, value, &format!("{place}.codes_file")),
            (true, None, Some(size)) if (1..=LARGEST).contains(&size) => {
                if hub.is_some_and(|hub| hub.section.link_key.is_none()) {
                    self.errors.note(spot(value, "size"), &place, "drawn codes need [hub] link_key");
                }
                let is_plain = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
                let prefix = section.prefix.as_deref().unwrap_or("-");
                let is_odd = prefix.is_empty() || prefix.chars().count() > 20 || !prefix.chars().all(is_plain);
                if is_odd && !stagedoor_model::breakage::is_on("useless-values-pass") {
                    let what = "has up to 20 letters, digits and dashes: shops take no other signs in a code";
                    self.errors.note(spot(value, "prefix"), format!("{place}.prefix"), what);
                }
                let prefix = section.prefix.clone().unwrap_or_else(|| name.to_uppercase());
                // A reader that gives out no codes does not draw them, which saves time in a cold start.
                let key = hub.and_then(|hub| hub.link_key.as_ref()).filter(|_| self.reading.gives_codes());
                Some(key.map(|key| drawn(key, name, &prefix, size)).unwrap_or_default())
            }
            _ => {
                let what = format!("give one of codes, codes_file, or size from 1 to {LARGEST}");
                self.errors.note(value.span(), &place, what);
                None
            }
        }
    }

    /// Reads one code a line, as shops export them. Further columns, quotes, empty lines and lines with # are ignored.
    fn codes_of_file(&mut self, file: &str, value: &Value<'_>, place: &str) -> Option<Vec<String>> {
        if !self.reading.gives_codes() {
            return Some(vec![]);
        }
        let path = self.folder.join(file);
        let mut note = |what: String| self.errors.note(spot(value, "codes_file"), place, what);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                note(format!("{} cannot be read: {error}; the path is relative to this file", path.display()));
                return None;
            }
        };
        let lines = text.trim_start_matches('\u{feff}').lines();
        let first = |line: &str| line.split([';', ',', '\t']).next().unwrap_or("").trim().trim_matches('"').to_owned();
        let codes: Vec<String> = lines.map(first).filter(|code| !code.is_empty() && !code.starts_with('#')).collect();
        let odd = codes.iter().position(|code| code.len() > 64 || code.contains(char::is_whitespace));
        if let Some(index) = odd {
            note(format!("code {} is longer than 64 bytes or has a space within", index + 1));
        }
        if codes.is_empty() {
            note("there is no code in the file".into());
        }
        Some(codes)
    }
}

/// Draws codes that nobody can guess. The same key always gives the same codes.
fn drawn(key: &Secret, pool: &str, prefix: &str, size: u32) -> Vec<String> {
    let key = LinkKey::new(&key.reveal());
    // The letters have no look-alikes, and no vowels that could form words.
    const LETTERS: &[u8; 24] = b"23456789BCDFGHJKMNPQRTVW";
    let code = |n: u32| {
        let drawn = u128::from_be_bytes(key.draw(&[b"promo", pool.as_bytes(), &n.to_be_bytes()]));
        let letter = |at: u32| {
            let index = (drawn / 24_u128.pow(at) % 24) as usize;
            LETTERS.get(index).map_or('2', |byte| char::from(*byte))
        };
        format!("{prefix}-{}", (0..8).map(letter).collect::<String>())
    };
    let mut seen = BTreeSet::new();
    (0..).map(code).filter(|code| seen.insert(code.clone())).take(size as usize).collect()
}
