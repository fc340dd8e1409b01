use stagedoor_engine::{CrmState, Person, PersonId, ShowKey};
use stagedoor_model::{Fact, Kind};

/// A row that was not written, because it carries another person's id.
#[derive(Debug, Clone)]
pub(crate) struct Misidentified {
    pub person: PersonId,
    pub kind: Kind,
    pub row: u64,
    /// The show, if the row is a deal.
    pub show: Option<ShowKey>,
    /// The person whose id the row carries.
    pub bearer: PersonId,
}

impl Misidentified {
    /// True if the bearer has another row of their own. Then this row is a copy.
    pub(crate) fn is_copy(&self, bearer: &Person, theirs: &CrmState) -> bool {
        let own = match &self.show {
            None => theirs.contact.id,
            Some(show) => theirs.deals.get(show).and_then(|deal| deal.id),
        };
        let is_gone = |id: u64| {
            bearer.records.values().any(|record| match record.fact {
                Fact::CrmContact { contact, deleted: true, .. } => self.show.is_none() && contact == id,
                Fact::CrmLead { lead, deleted: true, .. } => self.show.is_some() && lead == id,
                _ => false,
            })
        };
        own.is_some_and(|id| id != self.row && !is_gone(id))
    }
}
