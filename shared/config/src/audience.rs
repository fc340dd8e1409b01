//! Consents and segments.

use stagedoor_engine::{Catalog, ConsentPolicy, Segment, segments};
use toml::de::DeTable;

use crate::{
    file::{ConsentSection, SegmentSection},
    read::{Reader, spot},
    talk::table,
};

impl Reader<'_> {
    pub(crate) fn audience(&mut self, root: &DeTable<'_>, catalog: &mut Catalog) {
        let consent = self.optional::<ConsentSection>(root, "consent").unwrap_or_default();
        let double_opt_in = consent.double_opt_in.into_iter().collect();
        catalog.consent = ConsentPolicy { double_opt_in, ask: consent.ask };
        for (name, value) in table(root, "segment") {
            let place = format!("segment.{name}");
            let Some(section) = self.read::<SegmentSection>(value, &place) else { continue };
            let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !fits {
                let what = "a segment's name has letters, digits, dashes and underscores";
                self.ledger.note(value.span(), place.as_str(), what);
            }
            match segments::parse(&section.rule) {
                Ok(rule) => {
                    let title = section.title.unwrap_or_else(|| name.clone());
                    catalog.segments.push(Segment { name, title, text: section.rule, rule });
                }
                Err(wrong) => {
                    self.ledger.note(spot(value, "rule"), format!("{place}.rule"), wrong.to_string());
                }
            }
        }
    }
}
