//! Silent sources: what is usual is learnt from the source itself, by a clock that the test moves on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor::{Hub, Moved, read_config};
use stagedoor_model::{Body, Event, EventId, PromoIssued, SourceName, Timestamp};
use stagedoor_ports::{
    Clock, HeardSources, KeyValues, Silence, SilenceRule, SourceLife, silent_sources, source_lives, sources_heard,
};
use stagedoor_sqlite::SqliteStore;
use stagedoor_testkit::form;
use stagedoor_tests::hub::TestHub;

use super::alarms::{Team, Watched, watched_hearing};

fn rule() -> SilenceRule {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Moscow").expect("a zone");
    SilenceRule::new(SignedDuration::from_hours(6), zone)
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A Monday, 9:00 in Moscow.
const MONDAY: &str = "2027-01-11T06:00:00Z";

/// A source that is heard each half hour of these hours, from Monday on for so many days. Answers when it was called silent.
fn lives(days: i64, is_heard: impl Fn(i64, i64) -> bool) -> (SourceLife, Vec<String>) {
    let (rule, start) = (rule(), at(MONDAY));
    let mut life: SourceLife = serde_json::from_value(serde_json::json!({ "since": start })).expect("a new one");
    let mut rang = Vec::new();
    for half_hour in 0..days * 48 {
        let now = start + SignedDuration::from_mins(30 * half_hour);
        let (day, hour) = (half_hour / 48, (9 + (half_hour % 48) / 2) % 24);
        // After midnight it is the next day.
        let day = if half_hour % 48 >= 30 { day + 1 } else { day };
        if life.silence(now, &rule).is_some() {
            rang.push(format!("day {day}, {hour} h"));
        }
        if is_heard(day, hour) {
            life.hear(now, &rule);
        }
    }
    (life, rang)
}

#[test]
fn nights_and_weekends_that_are_usual_ring_nobody_and_a_silent_noon_does() {
    let (life, rang) = lives(26, |day, hour| day % 7 < 5 && (9..21).contains(&hour));
    assert_eq!(rang, Vec::<String>::new());
    // It is a Friday; the last that came is of 20:30. On Monday it stays silent.
    let last = life.last.expect("heard");
    assert_eq!(last, at("2027-02-05T17:30:00Z"));
    let silent = |now: &str| life.silence(at(now), &rule());
    assert_eq!(silent("2027-02-08T05:00:00Z"), None, "Monday, 8 h: it never comes before nine");
    assert_eq!(silent("2027-02-08T09:00:00Z"), None, "at noon four hours are silent, and those of Friday");
    let Some(Silence::Longer { since, .. }) = silent("2027-02-08T09:31:00Z") else { panic!("it rings") };
    assert_eq!(since, last);
}

#[test]
fn nothing_is_usual_before_a_week() {
    // Twice, and then never again.
    let (_, rang) = lives(30, |day, hour| day < 6 && hour == 12);
    assert_eq!(rang, Vec::<String>::new(), "it was heard for less than a week");
    let (_, rang) = lives(30, |day, hour| day < 9 && hour == 12);
    assert_eq!(
        rang.first().map(String::as_str),
        Some("day 9, 19 h"),
        "half as long again as thirteen hours and a half"
    );
}

#[test]
fn a_source_that_is_heard_seldom_may_be_silent_for_as_long_as_it_was() {
    let (life, rang) = lives(29, |day, hour| day % 7 == 0 && hour == 12);
    assert_eq!(rang, Vec::<String>::new(), "once a week");
    let last = life.last.expect("heard");
    let after = |days: i64| life.silence(last + SignedDuration::from_hours(24 * days), &rule());
    assert_eq!(after(8), None);
    assert!(after(12).is_some());
}

#[test]
fn an_outage_of_a_source_makes_no_alarm_deaf_and_a_new_habit_becomes_usual() {
    // Each half hour, but for five days and, two weeks later, for a day.
    let outage = |day: i64| (10..15).contains(&day);
    let (life, _) = lives(27, |day, _| !outage(day));
    let last = life.last.expect("heard");
    let after = |hours: i64| life.silence(last + SignedDuration::from_hours(hours), &rule());
    assert!(after(10).is_some(), "five days were no habit");
    // Four days of each week, from the tenth day on.
    let (_, rang) = lives(32, |day, _| day < 10 || day % 7 < 3);
    let rings = |days: std::ops::Range<i64>| {
        rang.iter().any(|one| days.clone().any(|day| one.starts_with(&format!("day {day},"))))
    };
    assert!(rings(10..14) && rings(17..21) && !rings(24..28), "{rang:?}");
}

#[tokio::test]
async fn what_the_hub_itself_missed_is_no_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("hub.db")).expect("a store");
    let (heard, tilda) = (HeardSources::default(), SourceName::new("tilda").expect("a name"));
    let (all, rule, begin) = (BTreeSet::from([tilda.clone()]), rule(), at(MONDAY));
    let hour = |hour: i64| begin + SignedDuration::from_hours(hour);
    let silent = async |now| silent_sources(&store, &all, now, &rule).await.expect("read");
    let hear = async |now| heard.note(&store, BTreeMap::from([(tilda.clone(), now)]), &rule, now).await.expect("noted");
    for n in 0..10 * 24 {
        assert!(silent(hour(n)).await.is_empty());
        hear(hour(n)).await;
    }
    // The hub is away for three days. What waited for it is handled before anybody looks.
    let back = 13 * 24;
    hear(hour(back)).await;
    assert!(silent(hour(back)).await.is_empty());
    for n in 1..=6 {
        assert!(silent(hour(back + n)).await.is_empty());
    }
    assert!(!silent(hour(back + 7)).await.is_empty(), "three days of its own are no habit of the source");
    // It is away again, and the source was heard an hour before: that is an hour of silence, and those after.
    hear(hour(back + 8)).await;
    assert!(silent(hour(back + 9)).await.is_empty());
    for n in 0..=6 {
        assert!(silent(hour(back + 100 + n)).await.is_empty(), "{n}");
    }
    assert!(!silent(hour(back + 107)).await.is_empty());
}

#[test]
fn an_event_that_was_a_dead_letter_is_a_sign_of_the_time_when_it_came() {
    let tilda = SourceName::new("tilda").expect("a name");
    let event = |time| Event::new(&tilda, EventId::from("a".to_owned()), time, Body::Erased);
    let now = at("2027-01-14T06:00:00Z");
    assert_eq!(sources_heard(&[event(at(MONDAY))], now), BTreeMap::from([(tilda.clone(), at(MONDAY))]));
    let both = [event(now - SignedDuration::from_mins(2)), event(at(MONDAY))];
    assert_eq!(sources_heard(&both, now), BTreeMap::from([(tilda.clone(), now)]));
}

#[tokio::test]
async fn an_old_order_begins_no_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("hub.db")).expect("a store");
    let (heard, tilda) = (HeardSources::default(), SourceName::new("tilda").expect("a name"));
    let (now, old) = (at(MONDAY), at(MONDAY) - SignedDuration::from_hours(24 * 90));
    heard.note(&store, BTreeMap::from([(tilda.clone(), old)]), &rule(), now).await.expect("noted");
    let lives = source_lives(&store, &BTreeSet::from([tilda.clone()]), now).await.expect("read");
    assert_eq!((lives[&tilda].first, lives[&tilda].last), (Some(now), Some(now)));
}

#[tokio::test]
async fn an_on_sale_night_writes_each_source_once_a_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("hub.db")).expect("a store");
    let (one, other) = (HeardSources::default(), HeardSources::default());
    let tilda = SourceName::new("tilda").expect("a name");
    let begin = at(MONDAY);
    for second in 0..600 {
        let now = begin + SignedDuration::from_secs(second);
        let heard = BTreeMap::from([(tilda.clone(), now)]);
        for process in [&one, &other] {
            process.note(&store, heard.clone(), &rule(), now).await.expect("noted");
        }
    }
    let key_value = store.key_value("source/tilda").await.expect("read").expect("a cell");
    assert_eq!(key_value.version, 10, "{}", key_value.value);
    let lives = source_lives(&store, &BTreeSet::from([tilda.clone()]), begin).await.expect("read");
    assert_eq!(lives[&tilda].last, Some(begin + SignedDuration::from_secs(540)));
}

#[test]
fn what_the_hub_sends_by_a_source_is_no_sign_of_it() {
    let telegram = SourceName::new("telegram").expect("a name");
    let issued = PromoIssued { identifiers: BTreeSet::new(), campaign: "ufa".into(), code: "A".into() };
    let event = |body| Event::new(&telegram, EventId::from("a".to_owned()), at(MONDAY), body);
    assert_eq!(sources_heard(&[event(Body::PromoIssued(issued))], at(MONDAY)), BTreeMap::new());
    let heard = sources_heard(&[event(Body::Erased)], at(MONDAY));
    assert_eq!(heard, BTreeMap::from([(telegram.clone(), at(MONDAY))]));
}

#[tokio::test]
async fn a_new_source_without_any_delivery_is_told_once() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(1_800_000_000));
    let section = format!("webhook = \"dev:{url}\"\nlanguage = \"en\"");
    let mut one = watched_hearing(folder.path(), &clock, &section, &["tilda"]);
    one.later(15).await;
    drop(one);
    let mut one = watched_hearing(folder.path(), &clock, &section, &["tilda"]);
    one.later(15).await;
    one.later(23 * 3_600).await;
    assert!(team.phases().is_empty());
    one.later(3_600).await;
    let told = team.told();
    let (kind, phase, body) = told.first().expect("an alarm");
    assert_eq!((told.len(), kind.as_str(), phase.as_str()), (1, "source_silent", "began"));
    assert_eq!((&body["source"], &body["since"]), (&"tilda".into(), &"2027-01-15T08:00:15Z".into()));
    assert!(
        body["text"].as_str().expect("a text").contains("source tilda: nothing came since it stands in the config")
    );
    for _ in 0..4 {
        one.later(86_400).await;
    }
    assert!(team.phases().is_empty(), "once");
    deliver(&one);
    one.later(15).await;
    assert_eq!(team.phases(), ["source_silent over"]);
}

fn deliver(one: &Watched) {
    one.hub.counters.accept("tilda", one.clock.now());
}

#[tokio::test]
async fn a_source_whose_webhook_is_switched_off_rings_until_it_is_heard_again() {
    let (team, url) = Team::start().await;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Moved::at(at(MONDAY).as_second()));
    let section = format!("webhook = \"dev:{url}\"\nlanguage = \"en\"");
    let mut one = watched_hearing(folder.path(), &clock, &section, &["tilda"]);
    for _ in 0..10 * 24 {
        deliver(&one);
        one.later(3_600).await;
    }
    assert!(team.phases().is_empty(), "each hour");
    drop(one);
    let mut one = watched_hearing(folder.path(), &clock, &section, &["tilda"]);
    for _ in 0..5 {
        one.later(3_600).await;
        assert!(team.phases().is_empty(), "six hours may be silent");
    }
    one.later(3_600).await;
    let told = team.told();
    let (kind, phase, body) = told.first().expect("an alarm");
    assert_eq!((told.len(), kind.as_str(), phase.as_str()), (1, "source_silent", "began"));
    let text = body["text"].as_str().expect("a text");
    assert!(
        text.contains("source tilda: nothing came since 2027-01-21 05:00 UTC; in four weeks its longest gap was 1 h"),
        "{text}"
    );
    deliver(&one);
    one.later(15).await;
    assert_eq!(team.phases(), ["source_silent over"]);
}

#[tokio::test]
async fn when_a_source_was_heard_is_known_after_a_restart() {
    let hub = TestHub::start().await;
    let fields = [("Phone", "8 916 123-45-67")];
    hub.take(&form("/website/tilda", &fields).header("x-api-key", "tilda-api-key")).await;
    hub.settled().await;
    let before = hub.now().as_second() - 60;
    let config = read_config("stagedoor.toml", stagedoor::DEFAULT_CONFIG, None).expect("a config");
    let next = Hub::open(config, hub.folder.path(), "test").expect("a hub");
    let text = stagedoor::metrics::text(&next).await.expect("figures");
    let name = "stagedoor_last_delivery_timestamp_seconds{source=\"tilda\"} ";
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    assert!(value.parse::<f64>().expect("a number") >= before as f64, "{value}");
    assert!(next.sync.clock.now().as_second() > before);
}
