use std::collections::{BTreeMap, BTreeSet};

use stagedoor_model::{
    Body, Event, Fact, Identifier, Kind, PaymentKind, Record, RecordKey, Rung, SECOND_CRM, Submission, Timestamp,
    Verdict, breakage,
};

/// Returns the key of the record that holds everything about one order.
pub fn order_record_key(source: &str, order: &str) -> RecordKey {
    RecordKey(format!("order/{source}:{order}"))
}

/// Returns the source of an order's record. `None`: the record is of another kind.
pub fn source_of_order(key: &RecordKey) -> Option<&str> {
    Some(key.0.strip_prefix("order/")?.split_once(':')?.0)
}

/// Returns the key of money that a provider reported only by its own payment id.
fn payment_record_key(shop: &str, payment: &str) -> RecordKey {
    RecordKey(format!("{PAYMENT_RECORD}{shop}:{payment}"))
}

/// The prefix of keys of records about a payment that names no order.
pub(crate) const PAYMENT_RECORD: &str = "payment/";

/// Namespace of a CRM's record ids. Empty for the first CRM.
fn crm_of(source: &str) -> &'static str {
    if source == SECOND_CRM { SECOND_CRM } else { "" }
}

fn row_key(kind: &str, scope: &str, number: u64) -> String {
    if scope.is_empty() { format!("{kind}:{number}") } else { format!("{kind}/{scope}:{number}") }
}

/// Returns when a row of the CRM was changed, and when it was found to exist again.
fn times_of_row(event: &Event, changed_at: Option<Timestamp>) -> (Timestamp, Option<Timestamp>) {
    match changed_at {
        Some(at) => (at.min(event.time), Some(event.time)),
        None => (event.time, None),
    }
}

/// Returns the identifiers that an event names, also if it changes nothing about the person.
pub fn named_in(event: &Event) -> BTreeSet<Identifier> {
    match (&event.body, record_of(event)) {
        (Body::MessageReported(reported), _) => reported.chat.also.iter().chain([&reported.chat.id]).cloned().collect(),
        (Body::MessageSent(sent), None) => BTreeSet::from([sent.to.clone()]),
        // An order's printed number is left out: another order may have the same one.
        (_, Some(record)) => {
            let mut named = record.mentions();
            record.order_number().into_iter().for_each(|number| _ = named.remove(&number));
            named
        }
        (_, None) => BTreeSet::new(),
    }
}

/// Returns what an event says about a person. `None` for an event about no person (a show, an unread delivery).
pub fn record_of(event: &Event) -> Option<Record> {
    let record = fact_of(event)?;
    let told_at = event.told_at.filter(|_| event.received_at.is_some());
    Some(Record { received_at: event.received_at, told_at, ..record })
}

fn fact_of(event: &Event) -> Option<Record> {
    let source = event.source.as_str();
    let claims_join = event.body.proof().joins() || breakage::is_on("claims-join");
    let is_claim = |one: &Identifier| !claims_join && one.kind().is_strong();
    let record = |key: RecordKey, identifiers: BTreeSet<Identifier>, name: Option<&String>, fact: Fact| Record {
        identifiers,
        name: name.map(|text| text.trim()).filter(|text| !text.is_empty()).map(|text| (event.time, text.to_owned())),
        ..Record::new(key, event.source.clone(), event.time, fact)
    };
    match &event.body {
        Body::FormSubmitted(form) | Body::CartAbandoned(form) | Body::QuestionnaireImported(form) => {
            // A cart whose amount could not be read is still a cart.
            let is_cart =
                matches!(event.body, Body::CartAbandoned(_)) && !breakage::is_on("cart-without-amount-is-none");
            let submission = Submission {
                last: event.time,
                rung: if is_cart { Rung::Cart } else { form.rung() },
                show: form.show.clone(),
                form: form.form.clone(),
                amount: form.amount.clone(),
                consents: form.consents.clone(),
                labels: form.labels.clone(),
                company: form.company.clone(),
                quiet: matches!(event.body, Body::QuestionnaireImported(_)),
                is_anonymous: event.is_anonymous,
            };
            let key = RecordKey(format!("touch:{}", event.id));
            let (claims, identifiers) = form.identifiers.iter().cloned().partition(is_claim);
            let record = record(key, identifiers, form.name.as_ref(), Fact::Submission(submission));
            Some(Record { claims, ..record })
        }
        Body::RefundReported(reported) => {
            let refunds = BTreeMap::from([(reported.refund.clone(), reported.detail.clone())]);
            let identifiers = Identifier::opaque(Kind::Order, source, &reported.order).into_iter().collect();
            Some(record(
                order_record_key(source, &reported.order),
                identifiers,
                None,
                Fact::of_money(refunds, BTreeMap::new()),
            ))
        }
        Body::PaymentReported(reported) => {
            let shop = reported.shop.as_ref().map_or(source, |shop| shop.as_str());
            let payments = BTreeMap::from([(reported.payment.clone(), reported.detail.clone())]);
            let references = reported.references.iter();
            let mut identifiers: BTreeSet<Identifier> =
                references.filter_map(|id| Identifier::opaque(Kind::Payment, shop, id)).collect();
            // Money without an order gets a record of its own. `settlements` puts it together with the order.
            let key = match &reported.order {
                Some(order) => {
                    identifiers.extend(Identifier::opaque(Kind::Order, shop, order));
                    order_record_key(shop, order)
                }
                // Two words about one payment may name different references, so they meet under the payment's own id.
                None if reported.detail.kind == PaymentKind::Received => payment_record_key(shop, &reported.payment),
                None => payment_record_key(shop, reported.references.first().unwrap_or(&reported.payment)),
            };
            let fact = Fact::of_money(BTreeMap::new(), payments);
            let mut record = record(key, identifiers, None, fact);
            // Takes the source of the order: a join of records would keep the smaller name.
            record.source = reported.shop.clone().unwrap_or(record.source);
            Some(record)
        }
        Body::ContactChanged(change) => {
            let mut identifiers = change.identifiers.clone();
            let scope = crm_of(source);
            identifiers.extend(Identifier::opaque(Kind::CrmContact, scope, &change.contact.to_string()));
            let (changed_at, restored_at) = times_of_row(event, change.changed_at);
            let fact = Fact::CrmContact {
                changed_at,
                contact: change.contact,
                deleted: change.deleted,
                phones: change.phones.clone(),
                emails: change.emails.clone(),
                hub_id: change.hub_id.clone(),
                restored_at,
            };
            let mut record = record(
                RecordKey(row_key("crm-contact", scope, change.contact)),
                identifiers,
                change.name.as_ref(),
                fact,
            );
            record.at = change.created_at;
            record.name = record.name.map(|(_, name)| (changed_at, name));
            Some(record)
        }
        Body::LeadChanged(change) => {
            let identifiers = Identifier::opaque(Kind::CrmLead, crm_of(source), &change.lead.to_string());
            let identifiers = identifiers.into_iter().collect();
            let (changed_at, restored_at) = times_of_row(event, change.changed_at);
            let fact = Fact::CrmLead {
                changed_at,
                lead: change.lead,
                deleted: change.deleted,
                pipeline: change.pipeline,
                status: change.status,
                by: change.moved_by,
                hub_id: change.hub_id.clone(),
                restored_at,
            };
            Some(record(RecordKey(row_key("crm-lead", crm_of(source), change.lead)), identifiers, None, fact))
        }
        Body::OrderPlaced(_) | Body::OrderPaid(_) | Body::OrderCancelled(_) | Body::OrderRefunded(_) => {
            let order = event.body.order()?;
            let mut identifiers = order.identifiers.clone();
            identifiers.extend(Identifier::opaque(Kind::Order, source, &order.order.id));
            let fact = Fact::of_order(order.order.clone());
            let mut record = record(order_record_key(source, &order.order.id), identifiers, order.name.as_ref(), fact);
            record.at = order.order.placed_at;
            Some(record)
        }
        Body::IdentityDecided(decided) => {
            let names: Vec<String> = decided.verdict.identifiers().into_iter().map(ToString::to_string).collect();
            let lifts = matches!(decided.verdict, Verdict::NotShared(_));
            let key = format!("decided{}:{}", if lifts { "-shared" } else { "" }, names.join("|"));
            let fact = Fact::Decided { at: event.time, verdict: decided.verdict.clone() };
            Some(record(RecordKey(key), BTreeSet::new(), None, fact))
        }
        body => {
            crate::conversations::record_of(event, body).or_else(|| crate::mail_and_consent::record_of(event, body))
        }
    }
}
