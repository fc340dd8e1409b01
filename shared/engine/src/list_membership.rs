//! Compares the mailing lists that a person should be on with those that the person is known to be on.

use stagedoor_model::{Channel, Email, name_for_messages};

use crate::{Catalog, CrmState, Person, Place, addresses};

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
