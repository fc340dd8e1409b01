//! Further deals that the CRM holds for the same person and show. They come from a create that took effect late, or
//! from two joined people. One deal counts. Each other gets price 0, the lost stage, and the id of the one that
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{Fact, breakage};
use stagedoor_texts::crm;

use super::{CrmState, DealDraft, DealState, Digest, Move, StageGuard, Step};
use crate::{Catalog, Person, PersonId, ShowKey, Stage};

/// Returns the steps that close doubles of all deals.
pub(super) fn doubles(
    person: &Person,
    link: &CrmState,
    moves: &BTreeMap<u64, Move>,
    catalog: &Catalog,
) -> Vec<(Step, Digest)> {
    if breakage::is_on("double-deal-counts") {
        return vec![];
    }
    link.deals.iter().flat_map(|(show, known)| of_show(person, show, known, moves, catalog)).collect()
}

fn of_show(
    person: &Person,
    show: &ShowKey,
    known: &DealState,
    moves: &BTreeMap<u64, Move>,
    catalog: &Catalog,
) -> Vec<(Step, Digest)> {
    let Some(of) = known.id else { return vec![] };
    let is_gone = |lead: &u64| moves.get(lead).is_some_and(|moved| moved.deleted);
    let open = known.doubles.iter().filter(|lead| **lead != of && !known.closed.contains(lead) && !is_gone(lead));
    let configured = catalog.shows.get(show).and_then(|show| catalog.pipeline(show));
    let Some(pipeline) = configured.or_else(|| catalog.pipelines.first()) else { return vec![] };
    let step = |lead: &u64| {
        // If a manager moved the deal, its stage stays.
        let lost = pipeline.stages.get(Stage::Lost).filter(|_| !moves.contains_key(lead));
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
            orders: crm::duplicate_deal(of.to_string()).to(catalog.language),
            promo_codes: String::new(),
            tickets: 0,
            refunded: 0,
            utm: BTreeMap::new(),
            campaign: None,
            company: None,
            payment: None,
            other_sums: String::new(),
            // Reports add up the fields of all deals.
            clears: !breakage::is_on("closed-deal-keeps-payment"),
            language: catalog.language,
            other_ids: BTreeSet::new(),
            guard: Some(StageGuard::of_double(pipeline)),
            stage_at: None,
            weighed: None,
            paid_orders: BTreeSet::new(),
        };
        let digest = Digest::of(&draft);
        (Step::CloseDouble(*lead, draft), digest)
    };
    open.map(step).collect()
}

impl CrmState {
    /// Takes over deals in the CRM that bear the hub's id of this person. Those beside the one that counts become its
    /// doubles. Returns true if any deal is new.
    pub fn remember_rows(&mut self, person: &Person, catalog: &Catalog) -> bool {
        let mut news = false;
        let rows =
            |deal: &DealState| deal.id.iter().chain(&deal.doubles).chain(&deal.closed).copied().collect::<Vec<_>>();
        let mut known: BTreeSet<u64> = self.deals.values().flat_map(rows).collect();
        let own = person.records.values().filter_map(|record| own_deal(&self.other_ids, &record.fact, person));
        // Of several new deals the oldest one counts. The keys of the records are in the order of texts.
        for (lead, show) in own.collect::<BTreeMap<u64, ShowKey>>() {
            if !known.insert(lead) {
                continue;
            }
            let show = catalog.current(&show).cloned().unwrap_or(show);
            let deal = self.deals.entry(show).or_default();
            match deal.id {
                None => deal.id = Some(lead),
                Some(_) => _ = deal.doubles.insert(lead),
            }
            news = true;
        }
        news
    }
}

/// Returns the id and the show of a deal that bears an id of this person.
fn own_deal(other_ids: &BTreeSet<PersonId>, fact: &Fact, person: &Person) -> Option<(u64, ShowKey)> {
    let Fact::CrmLead { lead, deleted: false, hub_id: Some(text), .. } = fact else { return None };
    let (bearer, show) = text.split_once('|')?;
    let bearer = PersonId::parse(bearer.trim()).ok()?;
    let is_own = bearer == person.id || person.merged_ids.contains(&bearer) || other_ids.contains(&bearer);
    is_own.then(|| (*lead, ShowKey(show.to_owned())))
}
