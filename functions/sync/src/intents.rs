//! Creating calls that got no answer. Each is looked up in every run until the CRM can no longer carry it out; only then
//! may its row be made anew. Meanwhile the person's other rows go on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use stagedoor_engine::{Intent, InvoiceLink, Person, PersonId, ShowKey};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_ports::{CrmError, PortError};

use crate::{
    Sync,
    round::{Case, Round},
};

/// Between two looks at the same row, at least and at most.
const SOONEST: SignedDuration = SignedDuration::from_secs(10);
const LATEST: SignedDuration = SignedDuration::from_secs(60);

/// What was asked for and never answered.
#[derive(Default)]
struct Unanswered {
    contacts: BTreeSet<PersonId>,
    deals: BTreeSet<(PersonId, ShowKey)>,
    invoices: BTreeSet<String>,
    since: Option<Timestamp>,
}

/// What the CRM holds of that.
#[derive(Default)]
struct Found {
    contacts: BTreeMap<PersonId, BTreeSet<u64>>,
    deals: BTreeMap<(PersonId, ShowKey), BTreeSet<u64>>,
    invoices: BTreeMap<String, u64>,
}

impl Sync {
    /// Looks up what was asked for and never answered.
    pub(crate) async fn look_up_intents(&self, round: &Round) -> Result<Result<(), CrmError>, PortError> {
        let Unanswered { contacts, deals, invoices, since } = round.unanswered();
        let Some(since) = since else { return Ok(Ok(())) };
        let mut found = Found::default();
        if !contacts.is_empty() {
            match self.crm.find_contacts(&contacts, since).await {
                Ok(rows) => found.contacts = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !deals.is_empty() {
            match self.crm.find_deals(&deals, since).await {
                Ok(rows) => found.deals = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        if !invoices.is_empty() {
            match self.crm.find_invoices(&invoices).await {
                Ok(rows) => found.invoices = rows,
                Err(error) => return Ok(Err(error)),
            }
        }
        let changed = round.resolve_intents(&found, self.clock.now(), self.crm.late_for());
        self.keep(round, changed).await?;
        Ok(Ok(()))
    }
}

/// Soon at first, then ever more rarely.
pub(crate) fn next_look(case: &Case, now: Timestamp) -> Timestamp {
    let links = [Some(&case.link), case.link.second.as_deref()];
    let since = links.into_iter().flatten().filter_map(|link| link.unanswered_since()).min();
    let age = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    now + age.clamp(SOONEST, LATEST)
}

/// The ids under which rows of somebody may have been made: people were joined since.
fn ids_of(person: &Person) -> impl Iterator<Item = PersonId> + Clone + '_ {
    std::iter::once(person.id).chain(person.absorbed.iter().copied())
}

/// Drops an intent that was answered by a look, or that can have no effect any more. Answers whether it did. Joined people
/// may each have asked for the row: one that is found says nothing of the other's call.
fn resolve(
    intent: &mut Option<Intent>,
    is_found: bool,
    is_joined: bool,
    now: Timestamp,
    late_for: SignedDuration,
) -> bool {
    let is_answered = is_found && (!is_joined || breakage::is_on("late-row-of-joined-unseen"));
    let is_done = is_answered || intent.as_ref().is_some_and(|intent| intent.is_over(now, late_for));
    if is_done {
        *intent = None;
    }
    is_done
}

impl Round {
    fn unanswered(&self) -> Unanswered {
        let mut unanswered = Unanswered::default();
        let mut since = Vec::new();
        for case in self.cases().values() {
            if let Some(intent) = &case.link.contact.intent {
                since.push(intent.at);
                unanswered.contacts.extend(ids_of(&case.person));
            }
            for (show, deal) in &case.link.deals {
                if let Some(intent) = &deal.intent {
                    since.push(intent.at);
                    unanswered.deals.extend(ids_of(&case.person).map(|id| (id, show.clone())));
                }
            }
            for (order, invoice) in &case.link.invoices {
                if let Some(intent) = &invoice.intent {
                    since.push(intent.at);
                    unanswered.invoices.insert(key_of(order, invoice));
                }
            }
        }
        unanswered.since = since.into_iter().min();
        unanswered
    }

    fn resolve_intents(&self, found: &Found, now: Timestamp, late_for: SignedDuration) -> BTreeSet<PersonId> {
        let mut changed = BTreeSet::new();
        for (id, case) in self.cases().iter_mut() {
            let before = case.link.clone();
            let ids: Vec<PersonId> = ids_of(&case.person).collect();
            let is_joined = ids.len() > 1;
            let link = &mut case.link;
            if link.contact.intent.is_some() {
                let rows: BTreeSet<u64> =
                    ids.iter().filter_map(|id| found.contacts.get(id)).flatten().copied().collect();
                let sent = link.contact.intent.as_ref().map(|intent| intent.values.clone()).unwrap_or_default();
                for row in rows.iter().filter(|_| !sent.is_empty()) {
                    // What a manager takes away before the hub looks stays away, too.
                    link.contact_values.entry(*row).or_default().extend(sent.iter().cloned());
                }
                if resolve(&mut link.contact.intent, !rows.is_empty(), is_joined, now, late_for) && is_joined {
                    link.contact.looked_until = Some(now);
                }
                link.contact.id = link.contact.id.or(rows.first().copied());
                let known = link.contact.id;
                link.doubles.extend(rows.into_iter().filter(|row| Some(*row) != known));
            }
            for (show, deal) in link.deals.iter_mut().filter(|(_, deal)| deal.intent.is_some()) {
                let keys = ids.iter().map(|id| (*id, show.clone()));
                let rows: BTreeSet<u64> = keys.filter_map(|key| found.deals.get(&key)).flatten().copied().collect();
                if resolve(&mut deal.intent, !rows.is_empty(), is_joined, now, late_for) && is_joined {
                    deal.looked_until = Some(now);
                }
                deal.id = deal.id.or(rows.first().copied());
                let known = deal.id;
                deal.doubles.extend(rows.into_iter().filter(|row| Some(*row) != known));
            }
            for (order, invoice) in link.invoices.iter_mut().filter(|(_, invoice)| invoice.intent.is_some()) {
                let row = found.invoices.get(&key_of(order, invoice)).copied();
                resolve(&mut invoice.intent, row.is_some(), false, now, late_for);
                if row.is_some() {
                    let anew = invoice.anew + u32::from(invoice.id.is_some());
                    let mut old = std::mem::take(&mut invoice.old);
                    old.retain(|one| Some(*one) != row);
                    let fixed = invoice.asked.take();
                    *invoice = InvoiceLink { id: row, anew, old, fixed, ..InvoiceLink::default() };
                }
            }
            if case.late && !case.link.awaits_rows() {
                (case.late, case.open) = (false, case.open.saturating_sub(1));
            }
            if case.link != before {
                let doubles = |link: &stagedoor_engine::Link| {
                    link.doubles.len() + link.deals.values().map(|deal| deal.doubles.len()).sum::<usize>()
                };
                // This run's plan knows nothing of the doubles: the next one's does.
                case.open += usize::from(doubles(&case.link) > doubles(&before));
                changed.insert(*id);
            }
        }
        changed
    }
}

/// The key of the invoice that was asked for last.
pub(crate) fn key_of(order: &str, known: &InvoiceLink) -> String {
    match known.turn() {
        0 => order.to_owned(),
        turn => format!("{order}/{turn}"),
    }
}
