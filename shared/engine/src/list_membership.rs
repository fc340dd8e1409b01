//! Compares the mailing lists that a person should be on with those that the person is known to be on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Email, Timestamp, name_for_messages};

use crate::{Catalog, CrmState, Person, addresses};

/// A list of a provider, and the segment whose people are on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRule {
    /// The name of the list in the config.
    pub name: String,
    /// The account at a mail provider.
    pub mailer: String,
    /// The provider's id of the list.
    pub id: String,
    /// The name of the segment.
    pub segment: String,
}

/// What the hub knows of an address on a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Stored before the call: the address may be there. With `again`, we took it off before, so a "left" from the list
    /// is not news.
    Adding {
        again: bool,
    },
    Enrolled,
    /// We took the address off because the person withdrew. After a new consent it is added again, if the provider
    /// allows it.
    Out,
    /// The person left on the provider's side, and the list does not take them back.
    Left {
        at: Timestamp,
    },
    /// The list never accepts this address.
    Refused {
        reason: String,
    },
}

impl Place {
    /// True if the list may hold the address.
    pub fn may_be_there(&self) -> bool {
        matches!(self, Self::Adding { .. } | Self::Enrolled)
    }

    /// True if we took the address off before.
    pub fn was_out(&self) -> bool {
        matches!(self, Self::Out | Self::Adding { again: true })
    }
}

/// The addresses of one person, by list, each with what is known of it.
pub type Places = BTreeMap<String, BTreeMap<String, Place>>;

/// A person as a list holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub email: Email,
    /// The name that letters may use.
    pub name: Option<String>,
}

/// The reason why an address leaves a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    /// The person does not consent and must get no letter, not even one sent by hand.
    Withdrawn,
    /// The person is no longer in the segment. They may come back.
    Segment,
}

/// A change of a mailing list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolment {
    Add { list: String, member: Member },
    Remove { list: String, email: Email, why: Leaving },
}

/// Returns the changes of lists for a person. An address is added only with a consent for this very address.
pub fn enrolment(person: &Person, link: &CrmState, catalog: &Catalog) -> Vec<Enrolment> {
    if catalog.lists.is_empty() {
        return vec![];
    }
    let open = addresses(person, Channel::Email, &catalog.consent);
    let open: Vec<Email> = open.into_iter().filter_map(|one| Email::try_from(one.value().to_owned()).ok()).collect();
    let mut steps = Vec::new();
    for list in &catalog.lists {
        let known = link.lists.get(&list.name);
        // One address a person, so that nobody gets a letter twice: the address that was known first.
        let wanted = open.first().filter(|_| link.segments.contains_key(&list.segment));
        for (address, _) in known.into_iter().flatten().filter(|(_, place)| place.may_be_there()) {
            let Ok(email) = Email::try_from(address.clone()) else { continue };
            if wanted != Some(&email) {
                let why = if open.contains(&email) { Leaving::Segment } else { Leaving::Withdrawn };
                steps.push(Enrolment::Remove { list: list.name.clone(), email, why });
            }
        }
        let place = wanted.and_then(|email| known?.get(email.as_str()));
        if let Some(email) = wanted.filter(|_| matches!(place, None | Some(Place::Out | Place::Adding { .. }))) {
            let member =
                Member { email: email.clone(), name: person.name().and_then(name_for_messages).map(str::to_owned) };
            steps.push(Enrolment::Add { list: list.name.clone(), member });
        }
    }
    steps
}
