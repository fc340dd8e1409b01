//! The shows of all configs that this hub had. Each show has a stored value of its own, so that no value grows for
//! ever.

use std::collections::BTreeMap;

use stagedoor_engine::{Catalog, PastShow, PastShows};
use stagedoor_model::breakage;
use stagedoor_ports::{KeyValue, KeyValues, Result};

const PREFIX: &str = "past/";
/// Earlier versions kept every show in this one value. It stays unchanged for a version after a rollback.
const ALL: &str = "past-shows";
/// Says that each show of the old value has a value of its own. No show has an empty key.
const MOVED: &str = PREFIX;

/// Every show of all configs of this hub, including the present one. Writes values when the config changes.
///
/// # Errors
/// When the store fails.
pub(crate) async fn past_shows(store: &dyn KeyValues, catalog: &Catalog) -> Result<PastShows> {
    if breakage::is_on("past-shows-in-one-cell") {
        return in_one_cell(store, catalog).await;
    }
    let key_values = store.key_values(PREFIX).await?;
    let known = read(&key_values);
    let is_moved = key_values.contains_key(MOVED);
    let now = catalog.remembered(known.clone());
    if is_moved && now == known {
        return Ok(now);
    }
    let mut past = read_all(store.key_value(ALL).await?.as_ref());
    past.extend(known.clone());
    let now = catalog.remembered(past);
    for (key, show) in now.iter().filter(|(key, show)| known.get(*key) != Some(*show)) {
        let name = format!("{PREFIX}{key}");
        let value = serde_json::to_string(show).unwrap_or_default();
        // Another process may be faster: it has the same config, or the next call writes the value.
        store.compare_and_set(&name, &value, key_values.get(&name).map(|key_value| key_value.version)).await?;
    }
    if !is_moved {
        store.compare_and_set(MOVED, "", None).await?;
    }
    Ok(now)
}

/// Every show of all configs of the hub that uses this store. Changes nothing.
///
/// # Errors
/// When the store fails.
pub async fn shows_of_past_configs(store: &dyn KeyValues) -> Result<PastShows> {
    let mut past = read_all(store.key_value(ALL).await?.as_ref());
    past.extend(read(&store.key_values(PREFIX).await?));
    Ok(past)
}

fn read(key_values: &BTreeMap<String, KeyValue>) -> PastShows {
    let one = |key_value: &KeyValue| serde_json::from_str::<PastShow>(&key_value.value).ok();
    key_values.values().filter_map(one).map(|one| (one.show.key.clone(), one)).collect()
}

fn read_all(key_value: Option<&KeyValue>) -> PastShows {
    let read = |key_value: &KeyValue| serde_json::from_str::<Vec<PastShow>>(&key_value.value).unwrap_or_default();
    key_value.into_iter().flat_map(read).map(|one| (one.show.key.clone(), one)).collect()
}

async fn in_one_cell(store: &dyn KeyValues, catalog: &Catalog) -> Result<PastShows> {
    let key_value = store.key_value(ALL).await?;
    let now = catalog.remembered(read_all(key_value.as_ref()));
    let value = serde_json::to_string(&now.values().collect::<Vec<_>>()).unwrap_or_default();
    store.compare_and_set(ALL, &value, key_value.map(|key_value| key_value.version)).await?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use stagedoor_engine::{Show, ShowKey};
    use stagedoor_ports::memory::MemoryStore;

    use super::*;

    fn show(key: &str) -> Show {
        let mut show = Catalog::default().show("", None);
        (show.key, show.title) = (ShowKey(key.to_owned()), "Вишнёвый сад".into());
        show
    }

    fn config(keys: &[&str]) -> Catalog {
        let shows = keys.iter().map(|key| (ShowKey((*key).to_owned()), show(key))).collect();
        Catalog { shows, ..Catalog::default() }
    }

    fn keys(past: &PastShows) -> Vec<(&str, bool)> {
        past.iter().map(|(key, one)| (key.0.as_str(), one.configured)).collect()
    }

    #[tokio::test]
    async fn no_cell_grows_with_the_number_of_shows() {
        let store = MemoryStore::default();
        for season in 0..40 {
            let of_season: Vec<String> = (0..10).map(|n| format!("{season}-{n}")).collect();
            let of_season: Vec<&str> = of_season.iter().map(String::as_str).collect();
            past_shows(&store, &config(&of_season)).await.unwrap();
        }
        assert_eq!(past_shows(&store, &config(&[])).await.unwrap().len(), 400);
        let longest = store.key_values("").await.unwrap().into_values().map(|key_value| key_value.value.len()).max();
        assert!(longest < Some(1_000), "{longest:?} bytes");
    }

    #[tokio::test]
    async fn a_cell_is_written_only_when_its_show_changes() {
        let store = MemoryStore::default();
        past_shows(&store, &config(&["cherry", "seagull"])).await.unwrap();
        let before = store.key_values("").await.unwrap();
        past_shows(&store, &config(&["cherry", "seagull"])).await.unwrap();
        assert_eq!(store.key_values("").await.unwrap(), before);
        past_shows(&store, &config(&["cherry"])).await.unwrap();
        let after = store.key_values("").await.unwrap();
        let changed: Vec<&String> = after
            .iter()
            .filter(|(name, key_value)| before.get(*name) != Some(*key_value))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(changed, ["past/seagull"]);
    }

    #[tokio::test]
    async fn shows_of_the_one_cell_of_before_are_known_and_get_cells_of_their_own() {
        let store = MemoryStore::default();
        in_one_cell(&store, &config(&["cherry", "seagull"])).await.unwrap();
        in_one_cell(&store, &config(&["cherry"])).await.unwrap();
        let expected = [("cherry", true), ("seagull", false)];
        assert_eq!(keys(&shows_of_past_configs(&store).await.unwrap()), expected);
        // The process ended before each show had its stored value.
        let one = PastShow { show: show("cherry"), known_as: Default::default(), pipeline: None, configured: true };
        store.compare_and_set("past/cherry", &serde_json::to_string(&one).unwrap(), None).await.unwrap();
        assert_eq!(keys(&past_shows(&store, &config(&["cherry"])).await.unwrap()), expected);
        let old = store.key_value(ALL).await.unwrap().expect("it stays for a version that is rolled back to");
        store.compare_and_set(ALL, "[]", Some(old.version)).await.unwrap();
        assert_eq!(keys(&past_shows(&store, &config(&["cherry"])).await.unwrap()), expected, "each has its own");
        assert_eq!(keys(&shows_of_past_configs(&store).await.unwrap()), expected);
    }

    #[tokio::test]
    async fn a_show_that_an_earlier_version_added_while_it_was_rolled_back_to_is_known() {
        let store = MemoryStore::default();
        past_shows(&store, &config(&["cherry"])).await.unwrap();
        in_one_cell(&store, &config(&["cherry", "seagull"])).await.unwrap();
        let past = past_shows(&store, &config(&["cherry", "three-sisters"])).await.unwrap();
        assert_eq!(keys(&past), [("cherry", true), ("seagull", false), ("three-sisters", true)]);
    }
}
