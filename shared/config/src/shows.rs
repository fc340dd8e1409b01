//! Shows and pipelines.

use std::collections::BTreeSet;

use stagedoor_engine::{Catalog, Pipeline, Show, ShowKey, Stage, StageNames};
use stagedoor_model::Timestamp;
use toml::de::DeTable;

use crate::{
    reader::{Reader, spot},
    schema::{PipelineSection, ShowSection},
};

impl Reader<'_> {
    pub(crate) fn shows(&mut self, root: &DeTable<'_>, catalog: &mut Catalog, sources: &BTreeSet<String>) {
        for value in self.list(root, "show") {
            let Some(section) = self.read::<ShowSection>(value, "show") else { continue };
            let place = format!("show {:?}", section.key);
            let starts_at = section.starts_at.as_ref().and_then(|text| match text.parse::<Timestamp>() {
                Ok(at) => Some(at),
                Err(_) => {
                    let what = "not a time, expected RFC 3339 such as 2027-05-16T19:00:00+03:00";
                    self.errors.note(spot(value, "starts_at"), format!("{place}.starts_at"), what);
                    None
                }
            });
            if section.zone.as_ref().is_some_and(|zone| jiff::tz::TimeZoneDatabase::bundled().get(zone).is_err()) {
                let what = "unknown zone, expected an IANA name such as Europe/Moscow";
                self.errors.note(spot(value, "zone"), format!("{place}.zone"), what);
            }
            let key = ShowKey(section.key.clone());
            for (source, ids) in section.known_as {
                if !sources.contains(&source) {
                    let what = format!("there is no source {source:?}");
                    self.errors.note(spot(value, "known_as"), format!("{place}.known_as"), what);
                }
                for id in ids {
                    let other = catalog.known_as.insert((source.clone(), id.clone()), key.clone());
                    if let Some(other) = other.filter(|other| *other != key) {
                        let what =
                            format!("{source} {id:?} is the show {:?} already; leave it with one of them", other.0);
                        self.twice(spot(value, "known_as"), format!("{place}.known_as"), what);
                    }
                }
            }
            let show = Show {
                key: key.clone(),
                title: section.title,
                city: section.city,
                starts_at,
                zone: section.zone,
                cancelled: false,
                moved_at: None,
                announced: None,
                course: vec![],
            };
            if catalog.shows.insert(key, show).is_some() {
                self.errors.note(spot(value, "key"), place, "another show has this key");
            }
        }
    }

    pub(crate) fn pipelines(&mut self, root: &DeTable<'_>, catalog: &mut Catalog) {
        let values = self.list(root, "pipeline");
        if values.is_empty() {
            self.errors.note(
                0..0,
                "pipeline",
                "at least one [[pipeline]] is needed: its name in the CRM and its stages",
            );
        }
        for value in values {
            let Some(section) = self.read::<PipelineSection>(value, "pipeline") else { continue };
            let place = format!("pipeline {:?}", section.name);
            let index = catalog.pipelines.len();
            let mut stages = StageNames::default();
            for (name, theirs) in section.stages {
                match Stage::named(&name) {
                    Some(stage) => stages.insert(stage, theirs),
                    None => {
                        let known = Stage::ALL.map(Stage::name).join(", ");
                        let what = format!("unknown stage {name:?}, expected one of {known}");
                        self.errors.note(spot(value, "stages"), format!("{place}.stages"), what);
                    }
                }
            }
            for city in section.cities {
                let other = catalog.pipeline_of_city.insert(city.clone(), index).filter(|other| *other != index);
                if let Some(other) = other.and_then(|other| catalog.pipelines.get(other)) {
                    let what = format!(
                        "{city:?} is in the pipeline {:?} already; leave it with one of them, and name single shows in shows",
                        other.name
                    );
                    self.twice(spot(value, "cities"), format!("{place}.cities"), what);
                }
            }
            for show in section.shows {
                let key = ShowKey(show);
                if !catalog.shows.contains_key(&key) {
                    let what = format!("there is no [[show]] with key {:?}", key.0);
                    self.errors.note(spot(value, "shows"), format!("{place}.shows"), what);
                }
                let other = catalog.pipeline_of_show.insert(key.clone(), index).filter(|other| *other != index);
                if let Some(other) = other.and_then(|other| catalog.pipelines.get(other)) {
                    let what = format!(
                        "the show {:?} is in the pipeline {:?} already; leave it with one of them",
                        key.0, other.name
                    );
                    self.twice(spot(value, "shows"), format!("{place}.shows"), what);
                }
            }
            catalog.pipelines.push(Pipeline { name: section.name, stages });
        }
    }
}
