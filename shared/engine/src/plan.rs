//! Compares what the CRM should hold for a person with what it is known to hold.

mod contact;
mod deletions;
mod doubles;
mod draft;
mod guard;
mod join;
mod state;
mod unmatched;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

pub(crate) use deletions::contacts;
use draft::ORDERS;
pub use draft::{CompanyRef, ContactDraft, DealDraft, Doubted, Plan, Step};
pub use guard::{StageGuard, StagePlace};
use stagedoor_model::{Fact, Money, Order, Timestamp, breakage};
use stagedoor_texts::crm;
pub use state::{ContactState, CrmState, DealState, Digest, InvoiceState, Pending, PendingText, Rejected};

use crate::{
    By, Catalog, Deal, Payments, Person, Settlement, Settlements, ShowKey, Stage, TaskDraft, crm_conversation,
    deals::deals_of,
    invoices,
    money::{self, settlements, words},
};

/// Returns the steps that make the CRM equal to what the hub knows of a person. `link`: the known state of the CRM.
pub fn plan(person: &Person, link: &CrmState, catalog: &Catalog, now: Timestamp) -> Plan {
    let deleted = deleted_contacts(person);
    let held = deletions::contacts(person, link);
    let living: BTreeSet<u64> = held.difference(&deleted).copied().collect();
    let contact = living.first().copied();
    let mut plan = Plan { contact, ..Plan::default() };
    // A manager deleted the contact: the hub makes a new one only when the person buys.
    let gone = !held.is_empty() && living.is_empty() && !deletions::gets_contact_anew(person, link, catalog);
    let reachable = person.is_reachable() || crm_conversation::calls_for_contact(person, catalog);
    let reachable = reachable || unmatched::has_unmatched(person, link, now);
    // Then the plan makes no new row. It still updates deals and invoices that are in the CRM.
    let makes_rows = reachable && !gone;
    if !makes_rows && breakage::is_on("deals-of-gone-contact-frozen") {
        return plan;
    }
    let money = settlements(person.records.values());
    if makes_rows {
        contact::plan_contact(&mut plan, person, link, contact, catalog);
        plan_remarks(&mut plan, person, link, &money, catalog, now);
        if let Some(of) = contact {
            let doubles = living.into_iter().filter(|id| *id != of && !link.marked.contains(id));
            plan.steps.extend(doubles.map(|contact| (Step::MarkDuplicate { contact, of }, Digest::of(&contact))));
        }
    }
    let moves = manager_moves(person);
    let deals = deals_of(person, catalog, &money);
    plan.steps.extend(vacated(person, link, &deals, &moves, catalog));
    plan.steps.extend(doubles::doubles(person, link, &moves, catalog));
    for (show, deal) in deals {
        let known = link.deals.get(&show).cloned().unwrap_or_default();
        let moved = known.id.and_then(|lead| moves.get(&lead));
        let learnt = deletions::paid_since(&deal, &known, &money);
        let (is_news, spoken_at) = (guard::is_news(&deal, &known, moved, learnt), guard::spoken_at(&deal));
        let Some(mut draft) = draft_deal(person, deal, &known, &money, catalog, now) else { continue };
        // The digest covers the hub's own stage, sent or not: a move by a manager or robot is no change.
        let digest = draft.digest();
        if let (Some(deal), Some(moved)) = (known.id, moved.filter(|moved| moved.deleted)) {
            let deleted_at = moved.at;
            if known.last_sent.as_ref() != Some(&digest) && known.absent.as_ref() != Some(&digest) {
                plan.doubted.push(Doubted { show, deal, deleted_at, digest });
            }
            continue;
        }
        let pipeline = catalog.pipelines.iter().find(|one| one.name == draft.pipeline);
        draft.guard = pipeline.map(|pipeline| StageGuard::of(pipeline, &known, catalog));
        draft.stage_at = Some(spoken_at);
        let refused = known.rejected.as_ref().is_some_and(|rejected| rejected.digest == digest);
        if known.last_sent.as_ref() == Some(&digest) || refused {
            continue;
        }
        let step = match known.id {
            None if !makes_rows => continue,
            None => Step::CreateDeal(draft),
            Some(id) => {
                draft.stage = draft.stage.filter(|_| is_news);
                Step::UpdateDeal(id, draft)
            }
        };
        plan.steps.push((step, digest));
    }
    plan_invoices(&mut plan, person, link, &money, catalog, (&moves, makes_rows));
    plan.companies = invoices::companies(person);
    plan
}

/// Plans the note about a conversation and the task for a manager.
fn plan_remarks(
    plan: &mut Plan,
    person: &Person,
    link: &CrmState,
    money: &Settlements<'_>,
    catalog: &Catalog,
    now: Timestamp,
) {
    plan.note = crm_conversation::note(person, &link.noted, catalog, now);
    let asked = crm_conversation::task(person, link.tasked.as_ref(), catalog);
    let trouble = untold(person, link, money, catalog, now);
    // Lines that do not fit into one note go into the next one.
    let noted = plan.note.iter().flat_map(|note| &note.lines).chain(&link.noted).cloned().collect();
    let rest = plan.note.as_ref().and_then(|_| crm_conversation::note(person, &noted, catalog, now));
    plan.more = rest.is_some() || asked.is_some() && trouble.is_some();
    plan.task = trouble.or(asked);
    plan.marks = crm_conversation::marks(person, now);
}

/// Returns the next time at which the plan changes without an event. It is the earliest of: an order becomes overdue,
/// listed money has no order in time, a cancelled order's money did not go back, pictures in a chat are complete.
pub fn next_turn(person: &Person, link: &CrmState, now: Timestamp) -> Option<Timestamp> {
    let money = settlements(person.records.values());
    let overdue = money.orders.values().filter_map(|(_, settlement)| settlement.turns_at(now));
    let noted = crm_conversation::settles_at(person, &link.noted, now);
    let returns =
        money.orders.values().filter_map(|(order, settlement)| unmatched::waits_for_return(order, settlement));
    let returns = returns.filter(|until| *until > now);
    overdue.chain(unmatched::next_overdue(link, &money, now)).chain(returns).chain(noted).min()
}

/// Returns a task about the first trouble with money that no manager knows of.
fn untold(
    person: &Person,
    link: &CrmState,
    all: &Settlements<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> Option<TaskDraft> {
    let waits =
        |order: &_, settlement: &_| unmatched::waits_for_return(order, settlement).is_some_and(|until| until > now);
    let settled = all.orders.values().filter(|(order, settlement)| !waits(order, settlement));
    let troubles = settled.flat_map(|(order, settlement)| money::troubles(order, settlement));
    let troubles = troubles.chain(unmatched::overdue(link, all, now).cloned());
    let troubles = troubles.chain(crate::claims::troubles(person));
    let fresh = troubles.into_iter().find(|trouble| !link.troubles.contains(&trouble.key))?;
    let about = (Timestamp::UNIX_EPOCH, String::new());
    let text = fresh.text.to(catalog.language);
    Some(TaskDraft { person: person.id, text, about, trouble: Some(fresh.key) })
}

fn plan_invoices(
    plan: &mut Plan,
    person: &Person,
    link: &CrmState,
    money: &Settlements<'_>,
    catalog: &Catalog,
    (moves, makes_rows): (&BTreeMap<u64, Move>, bool),
) {
    let is_gone = |show: &ShowKey| {
        let deal = link.deals.get(show).and_then(|deal| deal.id);
        let moved = deal.and_then(|id| moves.get(&id));
        moved.is_some_and(|moved| moved.deleted) && !breakage::is_on("invoice-waits-for-deleted-deal")
    };
    let made: BTreeSet<ShowKey> = plan.makes_deals();
    for mut draft in invoices::invoices(person, money, catalog) {
        let known = link.invoices.get(&draft.key).cloned().unwrap_or_default();
        let fixed = Digest::of(&draft.fixed());
        let anew = known.id.is_some() && known.fixed.as_ref().is_some_and(|made| *made != fixed);
        // A new invoice needs a contact.
        if !makes_rows && (known.id.is_none() || anew) {
            continue;
        }
        let turn = known.anew + u32::from(anew);
        // Lines are written once: the hub cancels the old invoice, and the order gets a new one.
        let mut let_go = if breakage::is_on("old-invoice-stands") { BTreeSet::new() } else { known.old.clone() };
        let_go.extend(known.id.filter(|_| anew));
        for id in let_go {
            let mut old = draft.clone();
            (old.state, old.received, old.returned) = (crate::InvoiceStatus::Cancelled, 0, 0);
            plan.steps.push((Step::CancelInvoice(id, old), Digest::of(&("let go", id))));
        }
        if turn > 0 {
            draft.key = format!("{}/{turn}", draft.order);
            draft.turn = turn;
        }
        // A new invoice that is cancelled and was never paid, or whose total is 0, is not made.
        let is_over = draft.state == crate::InvoiceStatus::Cancelled;
        if (known.id.is_none() || anew) && is_over && (draft.received == 0 || draft.total == 0) {
            continue;
        }
        let digest = Digest::of(&draft);
        let refused = known.rejected.as_ref().is_some_and(|rejected| rejected.digest == digest);
        let is_made = made.contains(&draft.show);
        let deal = link.deals.get(&draft.show).and_then(|deal| deal.id);
        // The deal was deleted and made again, or it belongs to another person since people were parted.
        let is_elsewhere = known.deal.is_some() && known.deal != deal && (deal.is_some() || is_made);
        let contact = plan.contact.or(link.contact.id);
        let is_elsewhere = is_elsewhere || known.contact.is_some() && contact.is_some() && known.contact != contact;
        match known.id.filter(|_| !anew) {
            _ if refused || known.last_sent.as_ref() == Some(&digest) && !is_elsewhere => {}
            Some(id) => plan.steps.push((Step::UpdateInvoice(id, draft), digest)),
            // A manager deleted the deal of this invoice. The invoice is made only if the deal is made again.
            None if is_gone(&draft.show) => {}
            None => plan.steps.push((Step::CreateInvoice(draft, fixed), digest)),
        }
    }
}

/// Returns updates that set deals to 0 because all their orders moved to another show or another buyer.
fn vacated(
    person: &Person,
    link: &CrmState,
    deals: &BTreeMap<ShowKey, Deal>,
    moves: &BTreeMap<u64, Move>,
    catalog: &Catalog,
) -> Vec<(Step, Digest)> {
    let mut held: BTreeSet<&String> = deals.values().flat_map(|deal| &deal.orders).collect();
    held.extend(person.records.values().filter_map(|record| match &record.fact {
        Fact::HandedOn { number, .. } => Some(number),
        _ => None,
    }));
    let left = link.deals.iter().filter(|(show, known)| {
        let is_moved = !known.orders.is_empty() && known.orders.iter().all(|order| held.contains(order));
        // Two people were parted: the facts that made this deal belong to the other one.
        !deals.contains_key(*show) && (is_moved || known.is_parted)
    });
    let step = |(show, known): (&ShowKey, &DealState)| {
        let lead = known.id?;
        let moved = moves.get(&lead);
        if moved.is_some_and(|moved| moved.deleted) {
            return None;
        }
        // For a show that the config does not know, take the pipeline in which the stage was sent. If a manager moved
        // the deal, its stage stays.
        let configured = catalog.shows.get(show).and_then(|show| catalog.pipeline(show));
        let sent_in = || catalog.pipelines.iter().find(|one| Some(&one.name) == known.pipeline.as_ref());
        let configured = configured.or_else(|| sent_in().filter(|_| !breakage::is_on("exchanged-deal-stays-paid")));
        let pipeline = configured.or_else(|| catalog.pipelines.first())?;
        let lost = configured.filter(|_| moved.is_none()).and_then(|pipeline| pipeline.stages.get(Stage::Lost));
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
            show_resumed: false,
            show_postponed: false,
            orders: known.orders.iter().cloned().collect::<Vec<_>>().join(ORDERS),
            promo_codes: String::new(),
            tickets: 0,
            refunded: 0,
            utm: BTreeMap::new(),
            campaign: None,
            company: None,
            payment: None,
            other_sums: String::new(),
            clears: known.is_parted || !breakage::is_on("closed-deal-keeps-payment"),
            language: catalog.language,
            other_ids: BTreeSet::new(),
            guard: Some(StageGuard::of(pipeline, known, catalog)),
            stage_at: None,
            weighed: None,
            paid_orders: known.paid_orders.clone(),
        };
        let digest = Digest::of(&draft);
        let refused = known.rejected.as_ref().is_some_and(|rejected| rejected.digest == digest);
        let settled = refused || known.last_sent.as_ref() == Some(&digest);
        (!settled).then_some((Step::UpdateDeal(lead, draft), digest))
    };
    left.filter_map(step).collect()
}

/// Returns the payment state of the deal's orders. Of several orders, the most urgent state for a manager counts.
fn payment_of(deal: &Deal, money: &Settlements<'_>, now: Timestamp) -> Option<Payments> {
    let states = deal.made_of.iter().filter_map(|key| Some(money.orders.get(key)?.1.state(now)));
    let urgent =
        [Payments::Overdue, Payments::Over, Payments::Partly, Payments::Unpaid, Payments::Paid, Payments::Refunded];
    let state = states.min_by_key(|state| urgent.iter().position(|one| one == state).unwrap_or(urgent.len()))?;
    // An order for two shows can have returned all that this show cost.
    let is_returned = deal.stage == Stage::Refunded && deal.sums.values().all(|sum| sum.kept() <= 0 && sum.owed == 0);
    let is_settled = matches!(state, Payments::Paid | Payments::Partly) && !breakage::is_on("part-returned-is-paid");
    Some(if is_returned && is_settled { Payments::Refunded } else { state })
}

/// Returns the number of a paid order as the deal shows it.
fn paid_number((order, settlement): &(Cow<'_, Order>, Settlement)) -> Option<String> {
    deletions::is_paid(order, settlement).then(|| order.number.as_ref().unwrap_or(&order.id).clone())
}

/// The order field of a deal whose orders all went to other people.
const HANDED_ON: &str = "-";

/// Returns the contacts of a person that the CRM reports as deleted.
pub(crate) fn deleted_contacts(person: &Person) -> BTreeSet<u64> {
    let gone = |record: &stagedoor_model::Record| match record.fact {
        Fact::CrmContact { contact, deleted: true, .. } => Some(contact),
        _ => None,
    };
    person.records.values().filter_map(gone).collect()
}

/// The last move of a deal by a manager, or its deletion by anyone.
struct Move {
    at: Timestamp,
    deleted: bool,
}

/// Returns a manager's last move or the deletion of each deal, by the deal's id in the CRM.
fn manager_moves(person: &Person) -> BTreeMap<u64, Move> {
    person
        .records
        .values()
        .filter_map(|record| match record.fact {
            // A deletion counts no matter who made it. A move by user 0 is a robot's or the hub's own.
            Fact::CrmLead { changed_at, lead, deleted, by, .. } if deleted || by != Some(0) => {
                Some((lead, Move { at: changed_at, deleted }))
            }
            _ => None,
        })
        .collect()
}

/// Builds the deal as it should be, with the hub's own stage.
fn draft_deal(
    person: &Person,
    deal: Deal,
    known: &DealState,
    money: &Settlements<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> Option<DealDraft> {
    let pipeline = catalog.pipeline(&deal.show)?;
    let stage = pipeline.stages.get(deal.stage);
    let company = deal.company.as_ref().map(|company| CompanyRef { key: company.key(), id: None });
    let payment = payment_of(&deal, money, now);
    let (currency, language) = (catalog.currency(), catalog.language);
    // Orders that went to another person took their worth with them.
    let emptied = deal.orders.is_empty() && !known.orders.is_empty();
    let is_left = emptied && !breakage::is_on("closed-deal-keeps-payment");
    let clears = is_left || known.is_parted && !breakage::is_on("parted-deal-keeps-fields");
    let worth =
        deal.worth(currency).or_else(|| (emptied || clears).then(|| Money { minor: 0, currency: currency.to_owned() }));
    let refunded = deal.sums.get(currency).map_or(0, |sum| sum.refunded);
    let orders = if emptied { vec![HANDED_ON.to_owned()] } else { deal.orders.iter().cloned().collect() };
    let other_sums: Vec<String> = deal.worth_beside(currency).map(|sum| words(&sum)).collect();
    Some(DealDraft {
        person: person.id,
        name: match &deal.show.city {
            Some(city) => format!("{} · {city}", deal.show.title),
            None => deal.show.title.clone(),
        },
        pipeline: pipeline.name.clone(),
        stage: stage.map(|name| (deal.stage, name.clone())),
        price: worth.as_ref().map(Money::whole_major),
        fraction: worth.as_ref().map_or(0, Money::beyond_whole),
        city: deal.show.city.clone(),
        starts_at: deal.show.starts_at,
        show_cancelled: deal.show.cancelled,
        show_resumed: deal.show.is_resumed(),
        show_postponed: deal.show.is_postponed() && !breakage::is_on("postponed-date-stays"),
        orders: orders.join(ORDERS),
        promo_codes: deal.promo_codes.iter().cloned().collect::<Vec<_>>().join(", "),
        tickets: deal.live_tickets,
        refunded: Money { minor: refunded, currency: currency.to_owned() }.whole_major(),
        campaign: deal.attribution.map(|owed| match owed.by {
            By::Code => crm::campaign_by_code(owed.campaign).to(language),
            By::Link => crm::campaign_by_link(owed.campaign).to(language),
            By::Click => crm::campaign_by_click(owed.campaign).to(language),
            By::View => crm::campaign_by_view(owed.campaign).to(language),
        }),
        company,
        payment,
        other_sums: other_sums.join(", "),
        clears,
        language,
        other_ids: BTreeSet::new(),
        guard: None,
        stage_at: None,
        weighed: Some(deal.stage),
        paid_orders: deal.made_of.iter().filter_map(|key| paid_number(money.orders.get(key)?)).collect(),
        utm: deal.labels.into_iter().filter(|(key, _)| key.starts_with("utm_")).collect(),
        show: deal.show.key,
    })
}
