//! Decides whether the hub may move a deal from its stage in the CRM. The hub may move a deal that it put there
//! itself. A deal that a manager or a robot moved only moves forward, and never into another pipeline.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use stagedoor_model::{Rung, Timestamp, breakage};

use super::{DealState, Move};
use crate::{Catalog, Deal, Pipeline, Stage};

/// The facts that decide whether a stage may be sent to an existing deal. Stages have their names of the config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageGuard {
    /// Pipelines and stages where the hub itself may have put the deal.
    pub own: BTreeSet<(String, String)>,
    /// The paid stage of the pipeline in which the deal belongs.
    pub paid: Option<String>,
    /// The refunded stage of that pipeline.
    pub refunded: Option<String>,
    /// The lost stage of that pipeline.
    pub lost: Option<String>,
}

/// A stage as the CRM stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagePlace {
    /// Id of the pipeline; 0 in a CRM without pipelines.
    pub pipeline: u64,
    /// Id of the stage within its pipeline.
    pub stage: u64,
    /// Order within the pipeline: a later stage has a greater value.
    pub position: i64,
    /// True if the stage closes deals as won.
    pub won: bool,
    /// True if the stage closes deals as lost.
    pub lost: bool,
}

impl StagePlace {
    fn is(&self, other: &Self) -> bool {
        (self.pipeline, self.stage) == (other.pipeline, other.stage)
    }
}

impl StageGuard {
    pub(super) fn of(pipeline: &Pipeline, known: &DealState, catalog: &Catalog) -> Self {
        let sent_in = catalog.pipelines.iter().find(|one| Some(&one.name) == known.pipeline.as_ref());
        let sent_in = sent_in.unwrap_or(pipeline);
        // A closed double that counts again stands at the stage where the hub closed it.
        let is_closed = known.id.is_none_or(|id| known.closed.contains(&id)) && !known.closed.is_empty();
        let closed = Some(&Stage::Lost).filter(|_| is_closed && !breakage::is_on("double-stays-closed"));
        let sent = known.stage.iter().chain(&known.sent_stages).chain(closed);
        let sent = sent.filter_map(|stage| sent_in.stages.get(*stage));
        let own = sent.map(|name| (sent_in.name.clone(), name.clone())).collect();
        Self { own, ..Self::within(pipeline) }
    }

    /// Builds the guard of a double. The hub may have put it at any stage for another person.
    pub(super) fn of_double(pipeline: &Pipeline) -> Self {
        let own = pipeline.stages.values().map(|stage| (pipeline.name.clone(), stage.clone())).collect();
        Self { own, ..Self::within(pipeline) }
    }

    fn within(pipeline: &Pipeline) -> Self {
        let name = |stage: Stage| pipeline.stages.get(stage).cloned();
        Self {
            own: BTreeSet::new(),
            paid: name(Rung::Paid.into()),
            refunded: name(Stage::Refunded),
            lost: name(Stage::Lost),
        }
    }

    /// Returns true if a deal at `from` may move to `to`. `to` is `stage` of `pipeline` in the config. `place` finds
    /// a stage of the config in the CRM.
    pub fn allows(
        &self,
        (stage, pipeline): (Stage, &str),
        from: &StagePlace,
        to: &StagePlace,
        place: &dyn Fn(&str, &str) -> Option<StagePlace>,
    ) -> bool {
        let is_own = self.own.iter().filter_map(|(pipeline, name)| place(pipeline, name)).any(|own| own.is(from));
        if from.is(to) || is_own || breakage::is_on("stage-pushed-back") {
            return !from.is(to);
        }
        if from.pipeline != to.pipeline {
            return breakage::is_on("pipeline-pushed-back");
        }
        let named = |name: &Option<String>| name.as_ref().and_then(|name| place(pipeline, name));
        let stands = |name: &Option<String>| named(name).is_some_and(|one| one.is(from));
        let is_lost = from.lost || stands(&self.lost);
        let is_aside = is_lost || stands(&self.refunded);
        let is_paid = from.won || !is_aside && named(&self.paid).is_some_and(|paid| from.position >= paid.position);
        match stage {
            Stage::Refunded => !is_lost,
            // A deal that a person marked as paid is not lost because the shop cancelled an order.
            Stage::Lost => !is_paid && !is_aside,
            Stage::Ladder(rung) if is_aside => rung >= Rung::Paid,
            Stage::Ladder(_) => !from.won && to.position > from.position,
        }
    }
}

/// Returns when the last fact happened that speaks for the deal's stage. Each purchase speaks for a paid stage, and
/// each open order for the cart stage.
pub(super) fn spoken_at(deal: &Deal) -> Timestamp {
    match deal.stage {
        Stage::Ladder(rung) if rung >= Rung::Paid => deal.bought_at.map_or(deal.since, |at| at.max(deal.since)),
        Stage::Ladder(Rung::Cart) if !breakage::is_on("new-order-is-no-news") => {
            deal.ordered_at.map_or(deal.since, |at| at.max(deal.since))
        }
        _ => deal.since,
    }
}

/// Returns true if the deal's stage is to be sent: it changed since, or the person bought after a manager moved the
/// deal. The hub never reverts a manager's move: only facts after the move may move the deal. Late money is an
/// exception, once: shops and banks report money late, and the manager's move says nothing about it. `learnt`: when the
/// last order was paid that the deal did not show as paid so far.
pub(super) fn is_news(deal: &Deal, known: &DealState, moved: Option<&Move>, learnt: Option<Timestamp>) -> bool {
    let is_after = |moved: &Move| spoken_at(deal) > moved.at;
    let is_unsure = !known.sent_stages.is_empty();
    let is_changed = known.stage != Some(deal.stage) || is_unsure || breakage::is_on("stage-sent-always");
    let is_bought = matches!(deal.stage, Stage::Ladder(rung) if rung >= Rung::Paid);
    let reopened = |moved: &Move| is_bought && known.stage_at.is_none_or(|sent| sent < moved.at);
    // The hub moved the deal again since then, for a fact after the manager's move.
    let is_outdated = |moved: &Move| known.stage_at > Some(moved.at) && !breakage::is_on("outdated-move-holds-deal");
    match moved.filter(|moved| !is_outdated(moved)) {
        None => is_changed,
        Some(moved) if breakage::is_on("reopened-stays-lost") => is_changed && deal.since > moved.at,
        Some(moved) => is_after(moved) && (is_changed || reopened(moved)) || is_late_money(deal, known, moved, learnt),
    }
}

/// How long before a manager's move a payment may have happened without the manager's knowledge. Banks and shops
/// report within a day, and some report only the day.
const UNKNOWN: SignedDuration = SignedDuration::from_hours(24);

/// Returns true if the hub learnt only now of a payment or refund shortly before the manager's move.
fn is_late_money(deal: &Deal, known: &DealState, moved: &Move, learnt: Option<Timestamp>) -> bool {
    let is_money = match deal.stage {
        Stage::Ladder(rung) => rung >= Rung::Paid,
        Stage::Refunded => true,
        Stage::Lost => false,
    };
    let is_learnt = known.weighed.or(known.stage).is_some_and(|before| before != deal.stage);
    let is_recent = |at: Timestamp| moved.at.duration_since(at) <= UNKNOWN;
    // The deal was paid before, and another order of it is paid now.
    let is_more = matches!(deal.stage, Stage::Ladder(_)) && learnt.is_some_and(is_recent);
    let is_more = is_more && !breakage::is_on("late-payment-moves-no-paid-deal");
    is_money && (is_learnt && is_recent(spoken_at(deal)) || is_more) && !breakage::is_on("late-payment-moves-nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, u64, i64); 7] = [
        ("Интерес", 1, 10),
        ("Корзина", 2, 20),
        ("Переговоры", 3, 30),
        ("Оплачено", 4, 40),
        ("Возврат", 5, 50),
        ("Успешно", 142, 10_000),
        ("Закрыто", 143, 11_000),
    ];

    fn place(pipeline: &str, name: &str) -> Option<StagePlace> {
        let (_, stage, position) = ALL.into_iter().find(|(known, ..)| *known == name)?;
        let pipeline = if pipeline == "Уфа" { 1 } else { 2 };
        Some(StagePlace { pipeline, stage, position, won: stage == 142, lost: stage == 143 })
    }

    fn allowed(sent: &str, (pipeline, from): (&str, &str), stage: Stage, to: &str) -> bool {
        let guard = StageGuard {
            own: BTreeSet::from([("Уфа".to_owned(), sent.to_owned())]),
            paid: Some("Оплачено".into()),
            refunded: Some("Возврат".into()),
            lost: Some("Закрыто".into()),
        };
        let (from, to) = (place(pipeline, from).expect("a stage"), place("Уфа", to).expect("a stage"));
        guard.allows((stage, "Уфа"), &from, &to, &place)
    }

    #[test]
    fn a_stage_goes_only_forward_from_where_somebody_else_put_the_deal() {
        let (cart, paid) = (Stage::Ladder(Rung::Cart), Stage::Ladder(Rung::Paid));
        assert!(allowed("Корзина", ("Уфа", "Переговоры"), paid, "Оплачено"));
        assert!(!allowed("Интерес", ("Уфа", "Переговоры"), cart, "Корзина"));
        // Cash at the counter: the shop's own payment changes nothing.
        assert!(!allowed("Корзина", ("Уфа", "Успешно"), paid, "Оплачено"));
        assert!(!allowed("Корзина", ("Уфа", "Успешно"), Stage::Lost, "Закрыто"));
        assert!(allowed("Корзина", ("Уфа", "Успешно"), Stage::Refunded, "Возврат"));
        assert!(!allowed("Оплачено", ("Уфа", "Закрыто"), Stage::Refunded, "Возврат"));
    }

    #[test]
    fn a_lost_or_refunded_deal_that_is_paid_becomes_paid() {
        let paid = Stage::Ladder(Rung::Paid);
        assert!(allowed("Закрыто", ("Уфа", "Переговоры"), paid, "Оплачено"));
        assert!(allowed("Возврат", ("Уфа", "Корзина"), paid, "Оплачено"));
        assert!(allowed("Корзина", ("Уфа", "Закрыто"), paid, "Оплачено"));
        assert!(allowed("Корзина", ("Уфа", "Возврат"), paid, "Оплачено"));
        assert!(!allowed("Интерес", ("Уфа", "Закрыто"), Stage::Ladder(Rung::Cart), "Корзина"));
        // The hub itself closed it.
        assert!(allowed("Закрыто", ("Уфа", "Закрыто"), Stage::Ladder(Rung::Cart), "Корзина"));
    }

    #[test]
    fn a_double_that_the_hub_closed_may_count_again() {
        let stages = [(Rung::Cart.into(), "Корзина"), (Stage::Refunded, "Возврат"), (Stage::Lost, "Закрыто")];
        let stages = stages.into_iter().map(|(stage, name)| (stage, name.to_owned())).collect();
        let pipeline = Pipeline { name: "Уфа".into(), stages };
        let allows = |known: &DealState| {
            let guard = StageGuard::of(&pipeline, known, &Catalog::default());
            let (from, to) = (place("Уфа", "Закрыто").expect("a stage"), place("Уфа", "Возврат").expect("a stage"));
            guard.allows((Stage::Refunded, "Уфа"), &from, &to, &place)
        };
        let closed = DealState { closed: [8].into(), ..DealState::default() };
        assert!(allows(&closed));
        assert!(allows(&DealState { id: Some(8), ..closed.clone() }));
        // Another deal counts, and a manager marked that one as lost.
        assert!(!allows(&DealState { id: Some(9), ..closed }));
    }

    #[test]
    fn a_deal_that_somebody_moved_to_another_pipeline_keeps_its_stage_there() {
        assert!(!allowed("Корзина", ("Казань", "Корзина"), Stage::Ladder(Rung::Paid), "Оплачено"));
        assert!(!allowed("Корзина", ("Казань", "Интерес"), Stage::Refunded, "Возврат"));
    }
}
