//! `check-config --data`: what a config would change is said before it happens.

use std::path::Path;

use stagedoor::{
    DEFAULT_CONFIG,
    config_changes::{report, report_of},
    read_config,
};
use stagedoor_engine::ShowKey;

use crate::{
    mailings::{Stage, noon},
    stored_data::{TOUR, unpack},
};

/// What the command says of a config that differs so from the one that the hub has.
async fn said(folder: &Path, change: impl FnOnce(String) -> String) -> String {
    let config = read_config("stagedoor.toml", &change(DEFAULT_CONFIG.to_owned()), None).expect("a config");
    report(&config, folder).await.expect("readable").join("\n")
}

/// Two people bought for Kazan, one for a show that the config does not name.
async fn sold() -> Stage {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "kzn-1").await;
    stage.buys("boris@example.com", "+79161234561", "kzn-1").await;
    stage.buys("vera@example.com", "+79161234562", "perm-7").await;
    stage.on(60).await;
    stage
}

fn says(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "missing {line:?} in\n{text}");
    }
}

#[tokio::test]
async fn a_config_that_changes_nothing_is_said_to_change_nothing() {
    let stage = sold().await;
    let text = said(stage.hub.folder.path(), |text| text).await;
    says(&text, &["nothing changes for people who are in the hub", "compared with 3 people; nothing was changed"]);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test]
async fn shows_that_a_config_adds_rekeys_renames_and_removes_are_said_with_their_deals() {
    let stage = sold().await;
    let folder = stage.hub.folder.path();
    let rekeyed = said(folder, |text| text.replace("cherry-kazan", "kazan-2027")).await;
    says(
        &rekeyed,
        &["show cherry-kazan: is kazan-2027 now", "deals: 2 that are kept as cherry-kazan go on as kazan-2027"],
    );
    assert!(!rekeyed.contains("deals made") && !rekeyed.contains("added"), "{rekeyed}");
    let added = said(folder, |text| {
        text + "\n[[show]]\nkey = \"perm\"\ntitle = \"Чайка\"\ncity = \"Пермь\"\nzone = \"Asia/Yekaterinburg\"\nknown_as = { theatre = [\"perm-7\"] }\n"
    })
    .await;
    says(
        &added,
        &[
            "show perm: added",
            "deals: 1 that are kept as theatre/perm-7 go on as perm",
            "deals: 1 get another name, for example «Чайка · Пермь» instead of «perm-7»",
            "CRM: 1 deals written anew",
        ],
    );
    let city = "title = \"Вишнёвый сад\"\ncity = \"Казань\"";
    assert!(DEFAULT_CONFIG.contains(city));
    let moved = said(folder, |text| text.replace(city, "title = \"Вишнёвый сад\"\ncity = \"Москва\"")).await;
    says(
        &moved,
        &[
            "show cherry-kazan: city «Москва» instead of «Казань»",
            "deals: 2 get another name, for example «Вишнёвый сад · Москва» instead of «Вишнёвый сад · Казань»",
            "deals: 2 belong to the pipeline «Москва» instead of",
            "CRM: 2 deals written anew",
        ],
    );
    let removed = said(folder, without_kazan).await;
    says(&removed, &["show cherry-kazan: removed; its deals stay as they are", "nothing changes for people"]);
    // Said, and not done.
    let catalog = stage.hub.hub.sync.catalog().await.expect("a catalog");
    assert!(catalog.shows.contains_key(&ShowKey("cherry-kazan".into())) && catalog.formerly.is_empty());
    assert_eq!(stage.hub.sandbox.leads().len(), 3);
}

/// The config without the show and without what names it.
fn without_kazan(text: String) -> String {
    let (before, rest) = text.split_once("[[show]]\nkey = \"cherry-kazan\"").expect("the show");
    let (_, after) = rest.split_once("\n\n").expect("more shows");
    format!("{before}{after}").replace("show = \"cherry-kazan\"\n", "")
}

#[tokio::test]
async fn segments_and_mailings_that_would_newly_apply_are_said_with_their_people() {
    let stage = sold().await;
    let text =
        said(stage.hub.folder.path(), |text| text + "\n[segment.buyers]\ntitle = \"Bought\"\nrule = 'orders >= 1'\n")
            .await;
    says(&text, &["segment buyers: 3 people enter, 0 leave"]);
}

#[tokio::test]
async fn zones_that_no_database_has_are_said() {
    let mut stage = Stage::at(noon(3)).await;
    stage.buys("anna@example.com", "+79161234560", "perm-7").await;
    let show = serde_json::json!({ "id": "perm-7", "title": "Чайка", "city": "Пермь", "zone": "MSK",
        "starts_at": "2027-06-08T19:00:00+05:00", "changed_at": stage.hub.now().to_string() });
    let body = serde_json::json!({ "type": "show.rescheduled", "data": show });
    let now = stage.hub.now();
    stage.hub.take(&stagedoor_testkit::form_signed("/ticketing/theatre", &body, "theatre-shop-secret", "z", now)).await;
    stage.on(60).await;
    let text = said(stage.hub.folder.path(), |text| text).await;
    says(&text, &["zone MSK of source theatre is no IANA zone"]);
}

#[tokio::test]
async fn a_folder_of_an_earlier_build_is_read_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    unpack(&TOUR, folder.path());
    let before = std::fs::read(folder.path().join("hub.db")).expect("a file");
    let text = said(folder.path(), |text| text).await;
    says(&text, &["compared with 300 people; nothing was changed", "what the last config had is not known"]);
    assert!(!text.contains("deals made") && !text.contains("pipeline"), "{text}");
    // That build kept no list of its shows: with another key, a show would be another one.
    says(&said(folder.path(), |text| text.replace("cherry-kazan", "kazan-2027")).await, &["130 deals made"]);
    assert!(std::fs::read(folder.path().join("hub.db")).expect("a file") == before, "the file is as it was");
    let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    let none = report(&config, Path::new("/nowhere")).await.expect("a config is checked before the first start");
    assert_eq!(none, ["there is no hub in /nowhere yet: it has no file hub.db"]);
}

#[tokio::test]
async fn the_store_of_a_deployment_is_read_the_same_way() {
    let stage = sold().await;
    let config = read_config("stagedoor.toml", DEFAULT_CONFIG, None).expect("a config");
    let text = report_of(&config, stage.hub.hub.store.as_ref()).await.expect("readable").join("\n");
    says(&text, &["nothing changes for people who are in the hub", "compared with 3 people; nothing was changed"]);
}

#[tokio::test]
async fn a_source_that_got_another_name_is_said_with_its_orders() {
    let stage = sold().await;
    let text = said(stage.hub.folder.path(), |text| {
        let text = text.replace("[source.theatre]", "[source.box-office]").replace("theatre = [", "box-office = [");
        text.replace("orders_of = \"theatre\"", "orders_of = \"box-office\"")
    })
    .await;
    says(&text, &["source theatre: the config does not have it, and 3 orders are its own", "give it the old one"]);
}
