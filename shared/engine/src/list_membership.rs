//! Which mailing lists somebody should be on, compared with those that they are known to be on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagedoor_model::{Channel, Email, Timestamp, name_for_messages};

use crate::{Catalog, CrmState, Person, addresses};

/// A list of a provider and the segment whose people are on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRule {
    pub name: String,
    /// The account at a provider.
    pub mailer: String,
    /// The provider's id of the list.
    pub id: String,
    pub segment: String,
}

/// What is known of an address on a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Said before the call: it may be there. `again`: we took it off ourselves before, so that the list says "left" of it
    /// is no news.
    Adding {
        again: bool,
    },
    Enrolled,
    /// We took it off because they withdrew; consenting anew they are added again, if the provider lets them.
    Out,
    /// They left there, and the list does not take them back.
    Left {
        at: Timestamp,
    },
    /// The list never takes the address as it is.
    Refused {
        reason: String,
    },
}

impl Place {
    /// Whether the list may hold the address.
    pub fn may_be_there(&self) -> bool {
        matches!(self, Self::Adding { .. } | Self::Enrolled)
    }

    /// Whether it was us who took the address off before.
    pub fn was_out(&self) -> bool {
        matches!(self, Self::Out | Self::Adding { again: true })
    }
}

/// Addresses of one person by list.
pub type Places = BTreeMap<String, BTreeMap<String, Place>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub email: Email,
    pub name: Option<String>,
}

/// Why somebody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    /// They do not consent: no letter ever, also by hand.
    Withdrawn,
    /// They are no longer in the segment; they may come back.
    Segment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolment {
    Add { list: String, member: Member },
    Remove { list: String, email: Email, why: Leaving },
}

/// What is to be done for somebody. Nobody is added without a consent that holds for this very address.
pub fn enrolment(person: &Person, link: &CrmState, catalog: &Catalog) -> Vec<Enrolment> {
    if catalog.lists.is_empty() {
        return vec![];
    }
    let open = addresses(person, Channel::Email, &catalog.consent);
    let open: Vec<Email> = open.into_iter().filter_map(|one| Email::try_from(one.value().to_owned()).ok()).collect();
    let mut steps = Vec::new();
    for list in &catalog.lists {
        let known = link.lists.get(&list.name);
        // One letter a person: the address that was known first.
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
