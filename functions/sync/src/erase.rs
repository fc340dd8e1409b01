//! Erases a person: only a keyed hash of each identifier remains, which keeps the person erased. Later events about
//! the person are journalled without their content.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stagedoor_engine::{CrmState, Leaving, Person, PersonId, named_in, rows_of};
use stagedoor_model::{Body, Email, Event, Identifier, Kind, SECOND_CRM, breakage};
use stagedoor_ports::{Crm, Listed, OfErased, PortError, Result, Struck, Versioned};

use crate::{Sync, claimants::is_nobody_else};

/// Stored value that says that somebody was erased once. Without it, nothing is looked up.
const ANY: &str = "erased/any";

/// Secret key for the hashes of erased people's identifiers. A hash without a key can be reversed to a phone in
/// minutes.
#[derive(Clone)]
pub struct ErasureKey(Vec<u8>);

impl ErasureKey {
    pub fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// HMAC-SHA256 of an identifier, in hex.
    fn tombstone(&self, identifier: &Identifier) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(identifier.to_string().as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Result of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    pub people: usize,
    pub identifiers: usize,
    /// Number of removed deliveries that were not understood, and of removed messages in the queues.
    pub traces: u64,
    /// Rows of these people in the first CRM.
    pub first: InCrm,
    /// Rows of these people in the second CRM.
    pub second: InCrm,
    /// Mailing lists from which they were removed.
    pub lists: BTreeSet<String>,
}

/// Rows of the erased people in one CRM, by the CRM's own ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InCrm {
    /// True if the CRM has a call that deletes rows.
    pub erases: bool,
    /// Contacts and deals that were deleted.
    pub deleted: Vec<String>,
    /// Contacts that somebody has to delete.
    pub contacts: Vec<String>,
    /// Deals that somebody has to delete.
    pub deals: Vec<String>,
    /// Invoices. They stay, as documents of the accounts.
    pub invoices: Vec<String>,
    /// Contacts of others who typed one of the addresses as their own. The address may stand there.
    pub claimed_in: Vec<String>,
}

/// Message of a command about a person whom this version cannot read. A later version stored them, or the document is
/// damaged.
pub const UNREADABLE: &str = "what is stored of this person cannot be read by this version, so neither their data nor their CRM \
     rows are known; start the version that wrote it (docs/operations.md, Roll back), then ask again";

impl Sync {
    /// Erases all people who have `identifier`, and keeps the identifier erased even if nobody has it.
    ///
    /// # Errors
    /// `Fail` if no erasure key is configured, or while a call may still make a row of the person in a CRM. `Retry`
    /// while another process reconciles.
    pub async fn erase(&self, identifier: &Identifier) -> Result<Erased> {
        let Some(key) = &self.erasure else {
            return Err(PortError::Fail("no erasure key is configured; give [hub] erasure_key a secret".into()));
        };
        if !self.lease_in_turn().await? {
            return Err(PortError::Retry("another process reconciles".into()));
        }
        let done = self.erase_leased(key, identifier).await;
        self.release().await?;
        done
    }

    /// True if the person of this identifier is stored in a form that this version cannot read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_unreadable(&self, identifier: &Identifier) -> Result<bool> {
        let claims = self.store.resolve(&BTreeSet::from([identifier.clone()])).await?;
        let owners: BTreeSet<PersonId> = claims.owners.values().copied().collect();
        Ok(!self.store.unreadable(&owners).await?.is_empty())
    }

    async fn erase_leased(&self, key: &ErasureKey, identifier: &Identifier) -> Result<Erased> {
        if self.is_unreadable(identifier).await? {
            return Err(PortError::Fail(UNREADABLE.into()));
        }
        let claims = self.store.resolve(&BTreeSet::from([identifier.clone()])).await?;
        // This finds all people whose facts prove the identifier, even if a guard keeps them apart.
        let mut found = self.bearers(identifier).await?;
        if found.is_empty() && claims.shared.contains(identifier) {
            return Err(PortError::Fail("it belongs to a crowd; name the person otherwise".into()));
        }
        let mut ids = ids_of(&found);
        let names = self.names_of(identifier, &found).await?;
        // A form that names no other person is theirs.
        let (bare, claimants): (Vec<_>, Vec<_>) =
            self.claimants(&found, &names).await?.into_iter().partition(|one| is_nobody_else(&one.value, &names));
        let mut claimants: BTreeSet<PersonId> = claimants.iter().map(|one| one.value.id).collect();
        ids.extend(ids_of(&bare));
        found.extend(bare);
        // A code that is not answered yet will become a claim.
        let typed = self.store.load(&self.typed_by(&names).await?).await?.into_iter().map(|one| one.value);
        claimants.extend(typed.map(|one| one.id).filter(|id| !ids.contains(id)));
        let mut links = self.store.crm_states(&ids).await?;
        self.hear_of_rows(&found, &mut links).await?;
        let rows = self.rows_of_erased(&found, &ids, &links).await?;
        let invoices = invoices_of(&links);
        let mut erased = Erased { people: found.len(), identifiers: names.len(), ..Erased::default() };
        // Lists come first: a person who cannot be removed from a list now is not forgotten now.
        erased.lists = self.off_every_list(&ids).await?;
        // A manager who edits one of these rows, or a walk over the CRM, reports the person again.
        let kept: BTreeSet<Identifier> = match breakage::is_on("erased-rows-come-back") {
            true => names.clone(),
            false => names.union(&rows).cloned().collect(),
        };
        let tombstones: BTreeSet<String> = kept.iter().map(|name| key.tombstone(name)).collect();
        // The tombstones come first, then the data goes.
        if self.store.key_value(ANY).await?.is_none() {
            self.store.compare_and_set(ANY, "yes", None).await?;
        }
        self.strike(&found, &names).await?;
        let marked = self.strike_claims(&claimants, &names).await?;
        let second = self.second.as_ref().map(|second| second.crm.as_ref());
        let of = |scope: &str, claimed_in: BTreeSet<u64>| of_erased(&rows, &invoices, claimed_in, scope);
        erased.first = strike_in(Some(self.crm.as_ref()), of("", marked.first)).await;
        erased.second = strike_in(second, of(SECOND_CRM, marked.second)).await;
        erased.traces = self.drop_traces(&names).await?;
        self.store.erase(&ids, &kept, &tombstones).await?;
        Ok(erased)
    }

    /// The identifiers by which these people are erased: `identifier` and their strong ones. Those that a guard left
    /// with another person, or that many people share, stay with those people.
    pub(crate) async fn names_of(
        &self,
        identifier: &Identifier,
        people: &[Versioned<Person>],
    ) -> Result<BTreeSet<Identifier>> {
        let mut names = BTreeSet::from([identifier.clone()]);
        for person in people {
            names.extend(person.value.identifiers().into_iter().filter(|one| one.kind().is_strong()).cloned());
        }
        let (ids, owned) = (ids_of(people), self.store.resolve(&names).await?);
        names.retain(|name| {
            !owned.shared.contains(name) && owned.owners.get(name).is_none_or(|owner| ids.contains(owner))
        });
        Ok(names)
    }

    /// Contacts and deals of these people in both CRMs, as the index names them. They come from the CRMs' reports and
    /// from the hub's own calls.
    async fn rows_of_erased(
        &self,
        people: &[Versioned<Person>],
        ids: &BTreeSet<PersonId>,
        links: &BTreeMap<PersonId, CrmState>,
    ) -> Result<BTreeSet<Identifier>> {
        let is_row = |one: &&Identifier| matches!(one.kind(), Kind::CrmContact | Kind::CrmLead);
        let told = people.iter().flat_map(|person| person.value.identifiers().into_iter().filter(is_row).cloned());
        let mut rows: BTreeSet<Identifier> = told.collect();
        for link in links.values() {
            rows.extend(rows_of(link, ""));
            rows.extend(link.second.iter().flat_map(|second| rows_of(second, SECOND_CRM)));
        }
        // After people are separated, a row may belong to another person.
        let owners = self.store.resolve(&rows).await?.owners;
        rows.retain(|row| owners.get(row).is_none_or(|owner| ids.contains(owner)));
        Ok(rows)
    }

    /// True if the identifier is kept erased.
    pub(crate) async fn is_erased(&self, identifier: &Identifier) -> Result<bool> {
        let Some(key) = &self.erasure else { return Ok(false) };
        Ok(!self.store.erased(&BTreeSet::from([key.tombstone(identifier)])).await?.is_empty())
    }

    /// The same messages, each with the tombstone that its recipient would have. `outreach` has no erasure key, and
    /// looks for the tombstone right before it sends.
    pub(crate) fn with_tombstones(&self, mut messages: Vec<Event>) -> Vec<Event> {
        let Some(key) = &self.erasure else { return messages };
        for event in &mut messages {
            if let Body::MessageDecided(message) = &mut event.body {
                message.tombstone = Some(key.tombstone(&message.to));
            }
        }
        messages
    }

    async fn off_every_list(&self, ids: &BTreeSet<PersonId>) -> Result<BTreeSet<String>> {
        let mut off = BTreeSet::new();
        for (name, places) in self.store.crm_states(ids).await?.into_values().flat_map(|link| link.lists) {
            let there = places.iter().filter(|(_, place)| place.may_be_there());
            let emails: Vec<Email> = there.filter_map(|(email, _)| Email::try_from(email.clone()).ok()).collect();
            let rule = self.catalog.lists.iter().find(|rule| rule.name == name);
            let mailer = rule.and_then(|rule| Some((rule, self.lists.get(&rule.mailer)?)));
            let Some((rule, mailer)) = mailer.filter(|_| !emails.is_empty()) else { continue };
            let told = mailer.remove(&rule.id, &emails, Leaving::Withdrawn).await;
            if told.iter().any(|one| !matches!(one, Listed::Done | Listed::Left)) {
                return Err(PortError::Retry(format!("the mailing list {name} does not let them go now")));
            }
            off.insert(name);
        }
        Ok(off)
    }

    /// The same events; those about erased people lose their content. `None` if nobody was ever erased.
    pub(crate) async fn without_the_erased(&self, events: &[(usize, Event)]) -> Result<Option<Vec<(usize, Event)>>> {
        let Some(key) = &self.erasure else { return Ok(None) };
        if self.store.key_value(ANY).await?.is_none() {
            return Ok(None);
        }
        let stones_of = |event: &Event| -> BTreeSet<String> {
            named_in(event).iter().filter(|one| one.kind().is_strong()).map(|one| key.tombstone(one)).collect()
        };
        let stones: Vec<BTreeSet<String>> = events.iter().map(|(_, event)| stones_of(event)).collect();
        let erased = self.store.erased(&stones.iter().flatten().cloned().collect()).await?;
        let strike = |((index, event), stones): (&(usize, Event), &BTreeSet<String>)| {
            let (index, mut event) = (*index, event.clone());
            if stones.iter().any(|stone| erased.contains(stone)) {
                (event.body, event.subject) = (Body::Erased, None);
            }
            (index, event)
        };
        Ok(Some(events.iter().zip(&stones).map(strike).collect()))
    }
}

/// The ids of these people, and of those who were joined into them.
fn ids_of(people: &[Versioned<Person>]) -> BTreeSet<PersonId> {
    people.iter().flat_map(|one| one.value.merged_ids.iter().copied().chain([one.value.id])).collect()
}

/// Invoices in both CRMs, with the invoices that were replaced.
fn invoices_of(links: &BTreeMap<PersonId, CrmState>) -> BTreeSet<(&'static str, u64)> {
    let of = |link: &CrmState| -> Vec<u64> {
        link.invoices.values().flat_map(|one| one.id.into_iter().chain(one.old.iter().copied())).collect()
    };
    let mut invoices = BTreeSet::new();
    for link in links.values() {
        invoices.extend(of(link).into_iter().map(|id| ("", id)));
        invoices.extend(link.second.iter().flat_map(|second| of(second)).map(|id| (SECOND_CRM, id)));
    }
    invoices
}

/// The rows of one CRM.
fn of_erased(
    rows: &BTreeSet<Identifier>,
    invoices: &BTreeSet<(&'static str, u64)>,
    claimed_in: BTreeSet<u64>,
    scope: &str,
) -> Vec<OfErased> {
    let named = rows.iter().filter(|row| row.scope() == scope).filter_map(|row| {
        let number = row.value().parse().ok()?;
        Some(if row.kind() == Kind::CrmContact { OfErased::Contact(number) } else { OfErased::Deal(number) })
    });
    let invoices = invoices.iter().filter(|(crm, _)| *crm == scope).map(|(_, id)| OfErased::Invoice(*id));
    let all: BTreeSet<OfErased> =
        named.chain(invoices).chain(claimed_in.into_iter().map(OfErased::ClaimedIn)).collect();
    all.into_iter().collect()
}

/// Deletes the rows that the CRM lets the hub delete, and lists the rest. `crm` is `None` if the config no longer has
/// that CRM.
async fn strike_in(crm: Option<&dyn Crm>, rows: Vec<OfErased>) -> InCrm {
    let erases = crm.is_some_and(|crm| crm.info().erases);
    let struck = match crm {
        Some(crm) if !rows.is_empty() && erases => crm.strike(&rows).await,
        _ => rows.iter().map(|row| Struck { id: row.number().to_string(), is_gone: false }).collect(),
    };
    let mut told = InCrm { erases, ..InCrm::default() };
    for (row, Struck { id, is_gone }) in rows.iter().zip(struck) {
        let list = match row {
            _ if is_gone => &mut told.deleted,
            OfErased::Contact(_) => &mut told.contacts,
            OfErased::Deal(_) => &mut told.deals,
            OfErased::Invoice(_) => &mut told.invoices,
            OfErased::ClaimedIn(_) => &mut told.claimed_in,
        };
        list.push(id);
    }
    told
}
