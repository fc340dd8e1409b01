//! What the CRM should hold for a person, compared with what it is known to hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stagedoor_model::{Fact, Kind, Timestamp};

use crate::{
    By, Catalog, Chats, Deal, Marketing, NoteDraft, Person, PersonId, ShowKey, Stage, TaskDraft, Written, chats,
    conversation, deals,
    enrolment::Places,
    marketing::{marketing, tags},
    segments::Looked,
};

/// A hash of what was last sent, so that nothing is sent twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    fn of(value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        let text = hex::encode(Sha256::digest(bytes));
        Self(text.get(..16).unwrap_or(&text).to_owned())
    }
}

/// Said before a creating call. One without an answer is looked up before anything is created again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub at: Timestamp,
}

/// Why a row waits for a manager: the CRM refuses it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// What was refused; another content is tried again.
    pub digest: Digest,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContactLink {
    pub id: Option<u64>,
    pub pushed: Option<Digest>,
    pub intent: Option<Intent>,
    pub parked: Option<Parked>,
    /// Whether its fields of consent, letters and segments hold something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marketed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DealLink {
    pub id: Option<u64>,
    pub pushed: Option<Digest>,
    pub stage: Option<Stage>,
    pub intent: Option<Intent>,
    pub parked: Option<Parked>,
    /// Orders that the deal was last pushed with.
    #[serde(default)]
    pub orders: BTreeSet<String>,
}

/// What is known of a person in the CRM. Written by the reconciler alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// How often it was written. Who writes from an older one is refused: a reconciler that lost its lease while a call
    /// was under way must not undo what the next one has learnt.
    #[serde(default)]
    pub revision: u64,
    pub contact: ContactLink,
    pub deals: BTreeMap<ShowKey, DealLink>,
    /// Second contacts of the same person that were marked as duplicates.
    #[serde(default)]
    pub marked: BTreeSet<u64>,
    /// Contacts that the hub made for people who turned out to be this one.
    #[serde(default)]
    pub doubles: BTreeSet<u64>,
    /// Marks of the lines of conversations that a note holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub noted: BTreeSet<String>,
    /// The line that the last task was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasked: Option<(Timestamp, String)>,
    /// A note and a task that were sent and not answered; what was sent is known by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_intent: Option<Remark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_intent: Option<Remark>,
    /// The segments that somebody is in, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, Timestamp>,
    /// The mailing lists that somebody may be on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: Places,
    /// What they were written of the hub's own accord, by occasion.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, Written>,
    /// When the next message to them may be due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_again_at: Option<Timestamp>,
    /// What their segments were last told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Looked>,
    /// When they are to be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_again_at: Option<Timestamp>,
}

impl Link {
    /// The CRM's ids of deals, by show.
    pub fn leads(&self) -> BTreeMap<String, u64> {
        self.deals.iter().filter_map(|(show, deal)| Some((show.0.clone(), deal.id?))).collect()
    }
}

/// Said before a note or a task is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub at: Timestamp,
    pub digest: Digest,
    /// Of a note: the lines that it holds.
    #[serde(default)]
    pub lines: BTreeSet<String>,
    /// Of a task: the line that it is about.
    #[serde(default)]
    pub about: Option<(Timestamp, String)>,
}

impl Remark {
    pub fn of_note(note: &NoteDraft, at: Timestamp) -> Self {
        Self { at, digest: Digest::of(&note.text), lines: note.lines.clone(), about: None }
    }

    pub fn of_task(task: &TaskDraft, at: Timestamp) -> Self {
        Self { at, digest: Digest::of(&task.text), lines: BTreeSet::new(), about: Some(task.about.clone()) }
    }

    /// Whether this text is what was sent.
    pub fn is(&self, text: &str) -> bool {
        self.digest == Digest::of(&text)
    }
}

impl Link {
    /// What two joined people had in the CRM, the elder's first.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.doubles.extend(other.doubles);
        match (self.contact.id, other.contact.id) {
            (Some(known), Some(second)) if known != second => _ = self.doubles.insert(second),
            (None, _) if other.contact != ContactLink::default() => self.contact = other.contact,
            _ => {}
        }
        for (show, deal) in other.deals {
            let known = self.deals.entry(show).or_default();
            if known.id.is_none() {
                *known = deal;
            }
        }
        self.marked.extend(other.marked);
        self.noted.extend(other.noted);
        self.tasked = self.tasked.max(other.tasked);
        self.note_intent = self.note_intent.or(other.note_intent);
        self.task_intent = self.task_intent.or(other.task_intent);
        for (list, places) in other.lists {
            let known = self.lists.entry(list).or_default();
            for (address, place) in places {
                let place = known.get(&address).map_or(place.clone(), |known| known.clone().min(place));
                known.insert(address, place);
            }
        }
        for (key, written) in other.written {
            let both = match self.written.remove(&key) {
                Some(known) => known.join(written),
                None => written,
            };
            self.written.insert(key, both);
        }
        // Together they are somebody else than each was.
        (self.looked, self.write_again_at) = (None, None);
        for (segment, since) in other.segments {
            let known = self.segments.entry(segment).or_insert(since);
            *known = since.min(*known);
        }
        self
    }

    pub fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.contact.parked.iter().chain(self.deals.values().filter_map(|deal| deal.parked.as_ref()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactDraft {
    pub person: PersonId,
    /// For contacts that we create, and for those that were made before anybody told a name; any other name in the CRM
    /// belongs to the manager.
    pub name: Option<String>,
    /// All values the field should have, those the CRM holds first.
    pub phones: Vec<String>,
    pub emails: Vec<String>,
    pub telegram: Option<String>,
    /// Tags that it should bear, and those of ours that it should not; others are a manager's.
    pub tags: Vec<String>,
    pub untagged: Vec<String>,
    pub chats: Option<Chats>,
    pub marketing: Option<Marketing>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealDraft {
    pub person: PersonId,
    pub show: ShowKey,
    pub name: String,
    pub pipeline: String,
    /// `None`: leave the stage as the manager has it.
    pub stage: Option<(Stage, String)>,
    /// In whole major units.
    pub price: Option<i64>,
    /// Minor units beyond the whole ones, for a CRM that holds them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fraction: i64,
    pub city: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub show_cancelled: bool,
    pub orders: String,
    pub promo_codes: String,
    pub tickets: usize,
    pub refunded: i64,
    pub utm: BTreeMap<String, String>,
    /// The campaign that the sale is owed to, and by what that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    CreateContact(ContactDraft),
    UpdateContact(u64, ContactDraft),
    /// The contact's id is known or comes from this plan's `CreateContact`.
    CreateDeal(DealDraft),
    UpdateDeal(u64, DealDraft),
    /// A second contact of the same person: tag it, name the first.
    MarkDuplicate {
        contact: u64,
        of: u64,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<(Step, Digest)>,
    /// The contact to which deals belong, when the CRM has it already.
    pub contact: Option<u64>,
    /// What was said in chats and no note holds yet.
    pub note: Option<NoteDraft>,
    pub task: Option<TaskDraft>,
    /// Lines that chats no longer hold need not be remembered as noted.
    pub marks: BTreeSet<String>,
}

impl Plan {
    /// Things to do.
    pub fn len(&self) -> usize {
        self.steps.len() + usize::from(self.note.is_some()) + usize::from(self.task.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub fn plan(person: &Person, link: &Link, catalog: &Catalog) -> Plan {
    let contacts = person.contacts();
    let deleted = deleted_contacts(person);
    let held: BTreeSet<u64> = link.contact.id.iter().chain(&link.doubles).chain(&contacts).copied().collect();
    let living: BTreeSet<u64> = held.difference(&deleted).copied().collect();
    let contact = living.first().copied();
    let mut plan = Plan { contact, ..Plan::default() };
    // Somebody whose contact a manager deleted is not brought back.
    let gone = !held.is_empty() && living.is_empty();
    let reachable = person.is_reachable() || conversation::calls_for_contact(person, catalog);
    if !reachable || gone {
        return plan;
    }
    plan_contact(&mut plan, person, link, contact, catalog);
    plan.note = conversation::note(person, &link.noted, catalog);
    plan.task = conversation::task(person, link.tasked.as_ref(), catalog);
    plan.marks = conversation::marks(person);
    if let Some(of) = contact {
        let doubles = living.into_iter().filter(|id| *id != of && !link.marked.contains(id));
        plan.steps.extend(doubles.map(|contact| (Step::MarkDuplicate { contact, of }, Digest::of(&contact))));
    }
    let moves = manager_moves(person);
    let deals = deals(person, catalog);
    plan.steps.extend(vacated(person, link, &deals, &moves, catalog));
    for (show, deal) in deals {
        let known = link.deals.get(&show).cloned().unwrap_or_default();
        let moved = known.id.and_then(|lead| moves.get(&lead));
        if moved.is_some_and(|moved| moved.deleted) {
            continue;
        }
        let Some(draft) = draft_deal(person, deal, &known, moved, catalog) else { continue };
        let digest = Digest::of(&draft);
        let refused = known.parked.as_ref().is_some_and(|parked| parked.digest == digest);
        if known.pushed.as_ref() != Some(&digest) && !refused {
            let step =
                known.id.map_or_else(|| Step::CreateDeal(draft.clone()), |id| Step::UpdateDeal(id, draft.clone()));
            plan.steps.push((step, digest));
        }
    }
    plan
}

/// Deals in the CRM whose orders were all exchanged for another show: they are worth nothing any more. Where the orders
/// went to somebody else, a manager decides.
fn vacated(
    person: &Person,
    link: &Link,
    deals: &BTreeMap<ShowKey, Deal>,
    moves: &BTreeMap<u64, Move>,
    catalog: &Catalog,
) -> Vec<(Step, Digest)> {
    let held: BTreeSet<&String> = deals.values().flat_map(|deal| &deal.orders).collect();
    let left = link.deals.iter().filter(|(show, known)| {
        !deals.contains_key(*show) && !known.orders.is_empty() && known.orders.iter().all(|order| held.contains(order))
    });
    let step = |(show, known): (&ShowKey, &DealLink)| {
        let lead = known.id?;
        let moved = moves.get(&lead);
        if moved.is_some_and(|moved| moved.deleted) {
            return None;
        }
        // Only a show that the config knows has a pipeline for sure; of any other the stage is left as it is, and so it
        // is where a manager moved the deal.
        let configured = catalog.shows.get(show).and_then(|show| catalog.pipeline(show));
        let pipeline = configured.or_else(|| catalog.pipelines.first())?;
        let lost = configured.filter(|_| moved.is_none()).and_then(|pipeline| pipeline.stages.get(&Stage::Lost));
        let draft = DealDraft {
            person: person.id,
            show: show.clone(),
            name: String::new(),
            pipeline: pipeline.name.clone(),
            stage: lost.map(|name| (Stage::Lost, name.clone())),
            price: Some(0),
            fraction: 0,
            city: None,
            starts_at: None,
            show_cancelled: false,
            orders: known.orders.iter().cloned().collect::<Vec<_>>().join(ORDERS),
            promo_codes: String::new(),
            tickets: 0,
            refunded: 0,
            utm: BTreeMap::new(),
            campaign: None,
        };
        let digest = Digest::of(&draft);
        let refused = known.parked.as_ref().is_some_and(|parked| parked.digest == digest);
        let settled = refused || known.pushed.as_ref() == Some(&digest);
        (!settled).then_some((Step::UpdateDeal(lead, draft), digest))
    };
    left.filter_map(step).collect()
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Between the numbers of orders in one field.
pub const ORDERS: &str = ", ";

fn plan_contact(plan: &mut Plan, person: &Person, link: &Link, contact: Option<u64>, catalog: &Catalog) {
    let (mut phones, mut emails) = held_by_crm(person, contact);
    let known: BTreeSet<&stagedoor_model::Identifier> = mirrored(person, contact);
    let fresh = |kind: Kind, value: &str| !known.iter().any(|i| i.kind() == kind && i.value() == value);
    let mut news = false;
    for phone in person.phones().iter().filter(|phone| fresh(Kind::Phone, phone.as_str())) {
        phones.push(phone.as_str().to_owned());
        news = true;
    }
    for email in person.emails().iter().filter(|email| fresh(Kind::Email, email.as_str())) {
        emails.push(email.as_str().to_owned());
        news = true;
    }
    let telegram = person.identifiers().iter().find(|i| i.kind() == Kind::Telegram).map(|i| i.value().to_owned());
    news |= telegram.is_some();
    let renamed = person.name().filter(|_| bears_stand_in(person, contact)).map(str::to_owned);
    news |= renamed.is_some();
    let name = if contact.is_none() { Some(display_name(person)) } else { renamed.clone() };
    let chats = chats(person);
    let marketing = marketing(person, &link.segments.keys().collect(), catalog);
    // What they held is emptied, once.
    let marketing = marketing.or_else(|| link.contact.marketed.then(Marketing::default));
    news |= chats.is_some() || marketing.is_some();
    let (tags, untagged) = if catalog.tags { tags(person, link, catalog) } else { (vec![], vec![]) };
    news |= !tags.is_empty() || catalog.tags && link.contact.marketed;
    let draft = ContactDraft { person: person.id, name, phones, emails, telegram, tags, untagged, chats, marketing };
    // What there was before a field came must have the digest that it had.
    let digest = match (&renamed, &draft.chats) {
        _ if catalog.tags => Digest::of(&(
            &draft.phones,
            &draft.emails,
            &draft.telegram,
            &renamed,
            &draft.chats,
            &draft.marketing,
            &draft.tags,
        )),
        _ if draft.marketing.is_some() => {
            Digest::of(&(&draft.phones, &draft.emails, &draft.telegram, &renamed, &draft.chats, &draft.marketing))
        }
        (None, None) => Digest::of(&(&draft.phones, &draft.emails, &draft.telegram)),
        (Some(name), None) => Digest::of(&(&draft.phones, &draft.emails, &draft.telegram, name)),
        (name, chats) => Digest::of(&(&draft.phones, &draft.emails, &draft.telegram, name, chats)),
    };
    let refused = link.contact.parked.as_ref().is_some_and(|parked| parked.digest == digest);
    let same = link.contact.pushed.as_ref() == Some(&digest);
    match contact {
        _ if refused || same => {}
        None => plan.steps.push((Step::CreateContact(draft), digest)),
        Some(id) if news => plan.steps.push((Step::UpdateContact(id, draft), digest)),
        Some(_) => {}
    }
}

fn display_name(person: &Person) -> String {
    let masked = || person.emails().first().map(|email| email.as_str().to_owned());
    let phone = || person.phones().first().map(|phone| phone.as_str().to_owned());
    person.name().map(str::to_owned).or_else(masked).or_else(phone).unwrap_or_else(|| "?".to_owned())
}

/// Whether the contact in the CRM has no name yet, as its mirror tells.
fn bears_stand_in(person: &Person, contact: Option<u64>) -> bool {
    let mirrors = person.records.values().filter(
        |record| matches!(record.fact, Fact::CrmContact { contact: id, deleted: false, .. } if Some(id) == contact),
    );
    mirrors.filter_map(|record| record.name.as_ref()).any(|(_, name)| person.is_stand_in(name))
}

fn held_by_crm(person: &Person, contact: Option<u64>) -> (Vec<String>, Vec<String>) {
    person
        .records
        .values()
        .find_map(|record| match &record.fact {
            Fact::CrmContact { contact: id, phones, emails, .. } if Some(*id) == contact => {
                Some((phones.clone(), emails.clone()))
            }
            _ => None,
        })
        .unwrap_or_default()
}

fn mirrored(person: &Person, contact: Option<u64>) -> BTreeSet<&stagedoor_model::Identifier> {
    person
        .records
        .values()
        .filter(|record| matches!(record.fact, Fact::CrmContact { contact: id, .. } if Some(id) == contact))
        .flat_map(|record| &record.identifiers)
        .collect()
}

fn deleted_contacts(person: &Person) -> BTreeSet<u64> {
    let gone = |record: &stagedoor_model::Record| match record.fact {
        Fact::CrmContact { contact, deleted: true, .. } => Some(contact),
        _ => None,
    };
    person.records.values().filter_map(gone).collect()
}

struct Move {
    at: Timestamp,
    deleted: bool,
}

fn manager_moves(person: &Person) -> BTreeMap<u64, Move> {
    person
        .records
        .values()
        .filter_map(|record| match record.fact {
            // A deal that is gone is gone, whoever did it; a move by 0 is a robot's or our own.
            Fact::CrmLead { changed_at, lead, deleted, by, .. } if deleted || by != Some(0) => {
                Some((lead, Move { at: changed_at, deleted }))
            }
            _ => None,
        })
        .collect()
}

fn draft_deal(
    person: &Person,
    deal: Deal,
    known: &DealLink,
    moved: Option<&Move>,
    catalog: &Catalog,
) -> Option<DealDraft> {
    let pipeline = catalog.pipeline(&deal.show)?;
    // A manager's own move is never pushed back. Only what happened after it may move the deal, and only forward.
    let manager_has_it = moved.is_some_and(|moved| deal.since <= moved.at || known.stage >= Some(deal.stage));
    let stage = pipeline.stages.get(&deal.stage).filter(|_| !manager_has_it);
    Some(DealDraft {
        person: person.id,
        name: match &deal.show.city {
            Some(city) => format!("{} · {city}", deal.show.title),
            None => deal.show.title.clone(),
        },
        pipeline: pipeline.name.clone(),
        stage: stage.map(|name| (deal.stage, name.clone())),
        price: deal.worth.as_ref().map(stagedoor_model::Money::whole_major),
        fraction: deal.worth.as_ref().map_or(0, stagedoor_model::Money::beyond_whole),
        city: deal.show.city.clone(),
        starts_at: deal.show.starts_at,
        show_cancelled: deal.show.cancelled,
        orders: deal.orders.iter().cloned().collect::<Vec<_>>().join(ORDERS),
        promo_codes: deal.promo_codes.iter().cloned().collect::<Vec<_>>().join(", "),
        tickets: deal.live_tickets,
        refunded: deal.worth.as_ref().map_or(0, |worth| worth.with_minor(deal.refunded_minor).whole_major()),
        campaign: deal.attribution.map(|owed| match owed.by {
            By::Code => format!("{} (promo code)", owed.campaign),
            By::Link => format!("{} (link)", owed.campaign),
            By::Click => format!("{} (letter clicked)", owed.campaign),
            By::View => format!("{} (letter opened)", owed.campaign),
        }),
        utm: deal.labels.into_iter().filter(|(key, _)| key.starts_with("utm_")).collect(),
        show: deal.show.key,
    })
}
