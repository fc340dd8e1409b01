//! What a later version wrote is told from what is readable.
#![cfg(feature = "testing")]

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use stagedoor_engine::{CrmState, Person};
use stagedoor_model::{Event, EventId};
use stagedoor_ports::{
    Document, FORMAT, JournalRow, from_stored, of_a_later_version,
    testing::{form_event, newcomer},
    to_stored,
};

fn has_room_for_its_format<T: Document + Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let plain = serde_json::to_string(value).expect("JSON");
    assert_eq!(from_stored::<T>(&plain).as_ref(), Ok(value), "without a number it is of format 1");
    assert_eq!(from_stored::<T>(&to_stored(value).expect("JSON")).as_ref(), Ok(value));
    let later = of_a_later_version(&plain);
    // The later version reads the number as a field that it need not know.
    assert_eq!(&serde_json::from_str::<T>(&later).expect("readable"), value);
    let reason = from_stored::<T>(&later).expect_err("not read");
    assert!(reason.contains(&format!("format {}, which a later version", FORMAT + 1)), "{reason}");
    assert!(!reason.contains("fan"), "a reason without values");
}

#[test]
fn what_a_later_version_wrote_is_told_from_what_is_readable() {
    let (person, mut commit) = newcomer(1);
    has_room_for_its_format::<Person>(&person);
    has_room_for_its_format::<CrmState>(&CrmState::default());
    has_room_for_its_format::<JournalRow>(&commit.journal.remove(0));
    has_room_for_its_format::<Event>(&form_event(1));
}

#[test]
fn a_number_that_is_none_is_of_no_known_format() {
    for text in ["{\"format\":", "{\"format\":\"2\"}", "{\"format\":99999999999,\"a\":1}"] {
        let reason = from_stored::<Event>(text).expect_err("not read");
        assert!(reason.contains("later version"), "{text}");
    }
    assert_eq!(from_stored::<Vec<EventId>>("[]"), Ok(vec![]));
    assert!(from_stored::<CrmState>(&of_a_later_version("{}")).is_err_and(|reason| reason.contains("later version")));
    assert_eq!(of_a_later_version("[]"), "[]", "a list has no room for it");
}
