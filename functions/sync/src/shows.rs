//! Changes of shows. A show that moves or is cancelled changes the deals of all people who are interested in it.

use std::collections::BTreeSet;

use stagedoor_engine::{Catalog, ShowKey, ShowState};
use stagedoor_model::{Body, Event, Fact, Record, Token};
use stagedoor_ports::{KeyValues, Result};

use crate::{Sync, past::past_shows};

const PREFIX: &str = "show/";

impl Sync {
    /// Stores the change and marks the show's audience. A repeated change has no effect.
    pub(crate) async fn learn_show(&self, event: &Event) -> Result<()> {
        self.say_unknown_zones(event).await?;
        let (change, cancelled) = match &event.body {
            Body::ShowRescheduled(change) => (change, false),
            Body::ShowCancelled(change) => (change, true),
            _ => return Ok(()),
        };
        let name = format!("{PREFIX}{}/{}", event.source, change.show.id);
        let told = ShowState::new(event.time, change.show.clone(), cancelled);
        loop {
            let key_value = self.store.key_value(&name).await?;
            let known =
                key_value.as_ref().and_then(|key_value| serde_json::from_str::<ShowState>(&key_value.value).ok());
            // A change that is folded again keeps the time at which it came first.
            let first = known.as_ref().and_then(|known| known.receipt_of(&told));
            let told = told.clone().received_by(first.unwrap_or_else(|| Some(self.clock.now())));
            let state = match known.clone() {
                Some(known) => known.join(told),
                None => told,
            };
            if known.as_ref() == Some(&state) {
                break;
            }
            let value = serde_json::to_string(&state).unwrap_or_default();
            if self.store.compare_and_set(&name, &value, key_value.map(|key_value| key_value.version)).await? {
                break;
            }
        }
        let mut audience = BTreeSet::new();
        let mut catalog = self.catalog.clone();
        catalog.recall(&past_shows(&*self.store, &self.catalog).await?);
        for name in names_of(event.source.as_str(), &change.show.id, &catalog) {
            audience.extend(self.store.audience(&name).await?);
        }
        self.store.mark_dirty(audience).await
    }

    /// Shows of the present and past configs, with later changes from providers.
    pub async fn catalog(&self) -> Result<Catalog> {
        let mut catalog = self.catalog.clone();
        catalog.recall(&past_shows(&*self.store, &self.catalog).await?);
        learn_changes(&*self.store, &mut catalog).await?;
        Ok(catalog)
    }
}

/// Adds changes from providers to the shows of a catalog.
///
/// # Errors
/// When the store fails.
pub async fn learn_changes(store: &dyn KeyValues, catalog: &mut Catalog) -> Result<()> {
    for (name, key_value) in store.key_values(PREFIX).await? {
        let source = name.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
        if let (Some(source), Ok(state)) = (source, serde_json::from_str::<ShowState>(&key_value.value)) {
            catalog.learn(source, state);
        }
    }
    Ok(())
}

/// Name under which a show's audience is kept: the catalog's own key, or the name that its source gives it.
fn name_of(source: &str, id: &str, catalog: &Catalog) -> String {
    match catalog.shows.contains_key(&ShowKey(id.to_owned())) {
        true => house(id),
        false => format!("{source}/{id}"),
    }
}

fn house(key: &str) -> String {
    format!("show/{key}")
}

/// All names of a show that a source mentions. People may know the show through other sources.
fn names_of(source: &str, id: &str, catalog: &Catalog) -> BTreeSet<String> {
    let key = catalog.key(source, id);
    let same = catalog.known_as.iter().filter(|(_, known)| **known == key);
    let others = same.map(|((source, id), _)| format!("{source}/{id}"));
    // Keys of past configs are names of the show, too.
    let formerly = catalog.formerly.iter().filter(|(_, now)| **now == key).map(|(old, _)| house(&old.0));
    others.chain(formerly).chain([house(&key.0), name_of(source, id, catalog)]).collect()
}

/// The names of all shows that a record is about.
pub(crate) fn shows_of(record: &Record, catalog: &Catalog) -> BTreeSet<String> {
    let source = record.source.as_str();
    let of_campaign = |name: &str| catalog.campaigns.get(name).and_then(|campaign| campaign.show.as_ref());
    let own: Vec<&ShowKey> = match &record.fact {
        Fact::Link(link) => of_campaign(&link.campaign).into_iter().collect(),
        Fact::Promo(promo) => of_campaign(&promo.campaign).into_iter().collect(),
        Fact::Conversation(conversation) => {
            let numbers = conversation.uses.keys().filter_map(|token| Some(Token::parse(token)?.header()?.campaign));
            let campaigns = numbers.filter_map(|number| catalog.campaign_numbered(number)?.show.as_ref());
            campaigns.chain(catalog.show_of_source.get(source)).collect()
        }
        _ => vec![],
    };
    let told: Vec<&str> = match &record.fact {
        Fact::Submission(submission) => submission.show.iter().map(|show| show.id.as_str()).collect(),
        Fact::Order { order: Some(order), .. } => {
            let shows = order.tickets.iter().map(|ticket| &ticket.show).chain(order.show.as_deref());
            shows.map(|show| show.id.as_str()).collect()
        }
        _ => vec![],
    };
    let told = told.into_iter().map(|id| name_of(source, id, catalog));
    own.into_iter().map(|key| house(&key.0)).chain(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_show_that_one_shop_moves_is_moved_for_whoever_came_to_it_by_another() {
        let key = ShowKey("cherry-kazan".into());
        let known = |source: &str, id: &str| ((source.to_owned(), id.to_owned()), key.clone());
        let known_as = [known("theatre", "kzn-1"), known("box-office", "42")].into();
        let show = stagedoor_engine::Show {
            key: key.clone(),
            title: "Вишнёвый сад".into(),
            city: None,
            starts_at: None,
            zone: None,
            cancelled: false,
            moved_at: None,
            announced: None,
            course: vec![],
        };
        let catalog = Catalog { known_as, shows: [(key.clone(), show)].into(), ..Catalog::default() };
        let told = names_of("theatre", "kzn-1", &catalog);
        let expected = ["box-office/42", "show/cherry-kazan", "theatre/kzn-1"].map(str::to_owned).into();
        assert_eq!(told, expected);
        // The site uses the catalog's own key.
        assert!(told.contains(&name_of("site", "cherry-kazan", &catalog)));
        assert!(told.contains(&name_of("box-office", "42", &catalog)));
        assert!(!told.contains(&name_of("box-office", "43", &catalog)));
    }
}
