//! The shows that configs of this hub had: one cell a show, so that no cell grows with the life of the hub.

use std::collections::BTreeMap;

use stagedoor_engine::{Catalog, PastShow, PastShows};
use stagedoor_model::breakage;
use stagedoor_ports::{Cell, Result, Store};

const PREFIX: &str = "past/";
/// Earlier versions kept every show in this one cell. It stays as it is for a version that is rolled back to.
const ALL: &str = "past-shows";
/// Says that each show of the old cell has a cell of its own. No show has an empty key.
const MOVED: &str = PREFIX;

/// Every show that a config of this hub had, this one included. Cells are written when the config changes.
///
/// # Errors
/// When the store fails.
pub(crate) async fn past_shows(store: &dyn Store, catalog: &Catalog) -> Result<PastShows> {
    if breakage::is_on("past-shows-in-one-cell") {
        return in_one_cell(store, catalog).await;
    }
    let cells = store.cells(PREFIX).await?;
    let known = read(&cells);
    let is_moved = cells.contains_key(MOVED);
    let now = catalog.remembered(known.clone());
    if is_moved && now == known {
        return Ok(now);
    }
    let mut past = read_all(store.cell(ALL).await?.as_ref());
    past.extend(known.clone());
    let now = catalog.remembered(past);
    for (key, show) in now.iter().filter(|(key, show)| known.get(*key) != Some(*show)) {
        let name = format!("{PREFIX}{key}");
        let value = serde_json::to_string(show).unwrap_or_default();
        // Another process may be faster: it has the same config, or the next look writes it.
        store.put_cell(&name, &value, cells.get(&name).map(|cell| cell.version)).await?;
    }
    if !is_moved {
        store.put_cell(MOVED, "", None).await?;
    }
    Ok(now)
}

/// Every show that a config of the hub had that uses this store. Changes nothing.
///
/// # Errors
/// When the store fails.
pub async fn shows_of_past_configs(store: &dyn Store) -> Result<PastShows> {
    let mut past = read_all(store.cell(ALL).await?.as_ref());
    past.extend(read(&store.cells(PREFIX).await?));
    Ok(past)
}

fn read(cells: &BTreeMap<String, Cell>) -> PastShows {
    let one = |cell: &Cell| serde_json::from_str::<PastShow>(&cell.value).ok();
    cells.values().filter_map(one).map(|one| (one.show.key.clone(), one)).collect()
}

fn read_all(cell: Option<&Cell>) -> PastShows {
    let read = |cell: &Cell| serde_json::from_str::<Vec<PastShow>>(&cell.value).unwrap_or_default();
    cell.into_iter().flat_map(read).map(|one| (one.show.key.clone(), one)).collect()
}

async fn in_one_cell(store: &dyn Store, catalog: &Catalog) -> Result<PastShows> {
    let cell = store.cell(ALL).await?;
    let now = catalog.remembered(read_all(cell.as_ref()));
    let value = serde_json::to_string(&now.values().collect::<Vec<_>>()).unwrap_or_default();
    store.put_cell(ALL, &value, cell.map(|cell| cell.version)).await?;
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
        let longest = store.cells("").await.unwrap().into_values().map(|cell| cell.value.len()).max();
        assert!(longest < Some(1_000), "{longest:?} bytes");
    }

    #[tokio::test]
    async fn a_cell_is_written_only_when_its_show_changes() {
        let store = MemoryStore::default();
        past_shows(&store, &config(&["cherry", "seagull"])).await.unwrap();
        let before = store.cells("").await.unwrap();
        past_shows(&store, &config(&["cherry", "seagull"])).await.unwrap();
        assert_eq!(store.cells("").await.unwrap(), before);
        past_shows(&store, &config(&["cherry"])).await.unwrap();
        let after = store.cells("").await.unwrap();
        let changed: Vec<&String> =
            after.iter().filter(|(name, cell)| before.get(*name) != Some(*cell)).map(|(name, _)| name).collect();
        assert_eq!(changed, ["past/seagull"]);
    }

    #[tokio::test]
    async fn shows_of_the_one_cell_of_before_are_known_and_get_cells_of_their_own() {
        let store = MemoryStore::default();
        in_one_cell(&store, &config(&["cherry", "seagull"])).await.unwrap();
        in_one_cell(&store, &config(&["cherry"])).await.unwrap();
        let expected = [("cherry", true), ("seagull", false)];
        assert_eq!(keys(&shows_of_past_configs(&store).await.unwrap()), expected);
        // The process ended before each show had its cell.
        let one = PastShow { show: show("cherry"), known_as: Default::default(), pipeline: None, configured: true };
        store.put_cell("past/cherry", &serde_json::to_string(&one).unwrap(), None).await.unwrap();
        assert_eq!(keys(&past_shows(&store, &config(&["cherry"])).await.unwrap()), expected);
        let old = store.cell(ALL).await.unwrap().expect("it stays for a version that is rolled back to");
        store.put_cell(ALL, "[]", Some(old.version)).await.unwrap();
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
