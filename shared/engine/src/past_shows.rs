//! Shows of earlier configs. A config change does not rewrite history. A show that is removed stays known. A show
//! that gets another key, or its first, keeps the deals and messages of its people.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stagedoor_model::breakage;

use crate::{Catalog, CrmState, DealState, Show, ShowKey};

/// A show of a config, with the names that its sources gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastShow {
    pub show: Show,
    /// Pairs of source and the source's id of the show.
    #[serde(default)]
    pub known_as: BTreeSet<(String, String)>,
    /// The name of the show's pipeline.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// True if the last config had it.
    #[serde(default = "yes")]
    pub configured: bool,
}

fn yes() -> bool {
    true
}

/// Every show that a config ever had, by key.
pub type PastShows = BTreeMap<ShowKey, PastShow>;

impl Catalog {
    /// Returns what is known of past shows after this config. Where both know a show, this config counts.
    #[must_use]
    pub fn remembered(&self, mut past: PastShows) -> PastShows {
        past.values_mut().for_each(|one| one.configured = false);
        for (key, show) in &self.shows {
            let names = self.known_as.iter().filter(|(_, known)| *known == key).map(|(name, _)| name.clone());
            let pipeline = self.pipeline(show).map(|pipeline| pipeline.name.clone());
            let one = PastShow { show: show.clone(), known_as: names.collect(), pipeline, configured: true };
            past.insert(key.clone(), one);
        }
        past
    }

    /// Returns this config with the shows of the last config, as far as `past` knows them.
    #[must_use]
    pub fn with_last_shows(&self, past: &PastShows) -> Self {
        let mut last = self.clone();
        (last.shows, last.known_as, last.pipeline_of_show) = Default::default();
        let (configured, gone): (PastShows, PastShows) = past.clone().into_iter().partition(|(_, one)| one.configured);
        last.recall(&configured);
        last.recall(&gone);
        last
    }

    /// Adds the shows that are no longer in the config. If a show of the config has one of their names, it is that
    /// show.
    pub fn recall(&mut self, past: &PastShows) {
        if breakage::is_on("rekeyed-show-new-deal") {
            return;
        }
        for (key, one) in past.iter().filter(|(key, _)| !self.shows.contains_key(*key)).collect::<Vec<_>>() {
            if let Some(now) = one.known_as.iter().find_map(|name| self.known_as.get(name)).cloned() {
                self.formerly.insert(key.clone(), now);
                continue;
            }
            self.shows.insert(key.clone(), one.show.clone());
            self.known_as.extend(one.known_as.iter().map(|name| (name.clone(), key.clone())));
            let index = one.pipeline.as_ref().and_then(|own| self.pipelines.iter().position(|one| one.name == *own));
            self.pipeline_of_show.extend(index.map(|index| (key.clone(), index)));
        }
    }

    /// Returns the present key of a show that was known by another key.
    pub fn current(&self, key: &ShowKey) -> Option<&ShowKey> {
        if self.shows.contains_key(key) || breakage::is_on("rekeyed-show-new-deal") {
            return None;
        }
        let of_source = || {
            let (source, id) = key.0.split_once('/')?;
            let plain = self.shows.get_key_value(&ShowKey(id.to_owned())).map(|(key, _)| key);
            plain.or_else(|| self.known_as.get(&(source.to_owned(), id.to_owned())))
        };
        self.formerly.get(key).or_else(of_source).filter(|now| *now != key)
    }
}

impl CrmState {
    /// Moves the deals and messages of shows that have another key now to that key.
    #[must_use]
    pub fn rekeyed(mut self, catalog: &Catalog) -> Self {
        let moves: Vec<(ShowKey, ShowKey)> = self
            .deals
            .keys()
            .chain(self.written.values().filter_map(|written| written.show.as_ref()))
            .filter_map(|key| Some((key.clone(), catalog.current(key)?.clone())))
            .collect();
        for (old, new) in moves {
            // If there is a deal already, the old one stays: it is handled as a second deal.
            if self.deals.get(&new).is_none_or(|known| *known == DealState::default())
                && let Some(deal) = self.deals.remove(&old)
            {
                self.deals.insert(new.clone(), deal);
            }
            self.rename_written(&old, &new);
        }
        self.second = self.second.map(|second| Box::new(second.rekeyed(catalog)));
        self
    }

    fn rename_written(&mut self, old: &ShowKey, new: &ShowKey) {
        let is_of = |show: &Option<ShowKey>| show.as_ref() == Some(old);
        let keys: Vec<String> =
            self.written.iter().filter(|(_, one)| is_of(&one.show)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(mut written) = self.written.remove(&key) else { continue };
            let named = key.replacen(&format!("|{old}"), &format!("|{new}"), 1);
            written.show = Some(new.clone());
            let both = match self.written.remove(&named) {
                Some(known) => known.join(written),
                None => written,
            };
            self.written.insert(named, both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, MailingState};

    fn key(text: &str) -> ShowKey {
        ShowKey(text.to_owned())
    }

    /// A config with one show that the shop calls `kzn-1`, or none.
    fn config(own: Option<&str>) -> Catalog {
        let mut catalog = Catalog::default();
        if let Some(own) = own {
            let mut show = catalog.show("", None);
            (show.key, show.title) = (key(own), "Вишнёвый сад".into());
            catalog.shows.insert(key(own), show);
            catalog.known_as.insert(("shop".into(), "kzn-1".into()), key(own));
        }
        catalog
    }

    /// The last of several configs, with what the hub remembers of those before.
    fn after(configs: &[Option<&str>]) -> Catalog {
        let mut past = PastShows::new();
        let mut last = Catalog::default();
        for own in configs {
            last = config(*own);
            past = last.remembered(past);
            last.recall(&past);
        }
        last
    }

    fn link(of: &str) -> CrmState {
        let deal = DealState { id: Some(7), last_sent: Some(Digest::of(&"row")), ..DealState::default() };
        let written = MailingState {
            mailing: "reminder".into(),
            show: Some(key(of)),
            city: None,
            began_at: stagedoor_model::Timestamp::UNIX_EPOCH,
            variant: None,
            marketing: false,
            steps: vec![],
            told: None,
        };
        let written = [(format!("reminder|{of}"), written)].into();
        CrmState { deals: [(key(of), deal)].into(), written, ..CrmState::default() }
    }

    /// The present key of the shop's `kzn-1`, and the keys of a person's deals and messages.
    fn keys(catalog: &Catalog, link: CrmState) -> (String, Vec<String>, Vec<String>) {
        let link = link.rekeyed(catalog);
        let deals = link.deals.keys().map(|key| key.0.clone()).collect();
        (catalog.key("shop", "kzn-1").0, deals, link.written.into_keys().collect())
    }

    #[test]
    fn a_show_that_comes_into_the_config_keeps_its_deals_and_messages() {
        let (now, deals, written) = keys(&after(&[None, Some("cherry")]), link("shop/kzn-1"));
        assert_eq!((now.as_str(), deals), ("cherry", vec!["cherry".to_owned()]));
        assert_eq!(written, ["reminder|cherry"]);
    }

    #[test]
    fn a_show_that_is_taken_out_of_the_config_stays_what_it_was() {
        let catalog = after(&[Some("cherry"), None]);
        let (now, deals, _) = keys(&catalog, link("cherry"));
        assert_eq!((now.as_str(), deals), ("cherry", vec!["cherry".to_owned()]));
        assert_eq!(catalog.shows.get(&key("cherry")).map(|show| show.title.as_str()), Some("Вишнёвый сад"));
    }

    #[test]
    fn a_show_that_gets_another_key_takes_its_deals_and_messages_along() {
        let (now, deals, written) = keys(&after(&[Some("cherry"), Some("cherry-kazan")]), link("cherry"));
        assert_eq!((now.as_str(), deals), ("cherry-kazan", vec!["cherry-kazan".to_owned()]));
        assert_eq!(written, ["reminder|cherry-kazan"]);
        // The key goes back, and nothing counts as new.
        let (now, deals, _) =
            keys(&after(&[Some("cherry"), Some("cherry-kazan"), Some("cherry")]), link("cherry-kazan"));
        assert_eq!((now.as_str(), deals), ("cherry", vec!["cherry".to_owned()]));
    }
}
