//! The pages of one person and of one event.

use std::collections::BTreeMap;

use maud::{Markup, html};
use stagedoor_engine::{Catalog, CrmState, LinkReason, MailingState, Person, PersonId, Reports, deals, explain, words};
use stagedoor_model::{Money, Timestamp};
use stagedoor_ports::JournalRow;

use crate::console::pages::{frame, moment, short};

pub fn person(person: &Person, rows: &[JournalRow], links: &BTreeMap<PersonId, CrmState>, catalog: &Catalog) -> Markup {
    let link = links.values().cloned().reduce(CrmState::join).unwrap_or_default();
    let contact = link.contact.id.or_else(|| person.contacts().first().copied());
    let body = html! {
        dl {
            dt { "In the CRM" }
            dd { @match contact { Some(id) => { "contact " (id) } None => { "not yet" } } }
            @for phone in person.phones() { dt { "Phone" } dd { (phone.as_str()) } }
            @for email in person.emails() { dt { "E-mail" } dd { (email.as_str()) } }
            @for claim in person.claims() {
                dt { (claim.kind().name()) } dd { (claim.value()) " " span.tag { "not confirmed" } }
            }
            dt { "Id" } dd { (person.id) }
        }
        @if let Some(rejected) = &link.contact.rejected { p.refused { "The CRM refuses the contact: " (rejected.reason) } }
        @if let Some(held) = &link.contact.held { p.refused { "The contact waits: " (held.reason) } }
        h2 { "Deals" }
        ul.rows {
            @for (key, deal) in deals(person, catalog) {
                li {
                    b { (deal.show.title) } @if let Some(city) = &deal.show.city { ", " (city) } " "
                    span.tag { (deal.stage.name()) } " "
                    @for (currency, sum) in &deal.sums {
                        @if let Some(worth) = deal.worth(currency) { (words(&worth)) " " }
                        @let back = Money { minor: sum.refunded, currency: currency.clone() };
                        @if back.minor > 0 { span.dim { "(refunded " (words(&back)) ") " } }
                    }
                    @if deal.show.cancelled { span.refused { " show cancelled" } }
                    @let known = link.deals.get(&key);
                    div.dim {
                        @match known.and_then(|deal| deal.id) { Some(id) => { "deal " (id) } None => { "not in the CRM yet" } }
                        @if let Some(at) = deal.show.starts_at { " · starts " (there(at, deal.show.zone.as_deref())) }
                        @if !deal.orders.is_empty() { " · orders " (deal.orders.iter().cloned().collect::<Vec<_>>().join(", ")) }
                    }
                    @if let Some(rejected) = known.and_then(|deal| deal.rejected.as_ref()) { div.refused { (rejected.reason) } }
                    @if let Some(held) = known.and_then(|deal| deal.held.as_ref()) { div.refused { "It waits: " (held.reason) } }
                }
            }
        }
        @if !link.segments.is_empty() {
            p { "In " @for name in link.segments.keys() { span.tag { (name) } " " } }
        }
        @if !link.written.is_empty() {
            @let reports = Reports::of(person);
            h2 { "What they were written" }
            ul.rows { @for one in link.written.values() { (written(one, &reports)) } }
        }
        h2 { "Timeline" }
        ul.rows {
            @for row in rows {
                li {
                    (moment(row.event.time)) " " a href={ "/console/event/" (row.event.id) } { (short(&row.event)) } " "
                    span.tag { (row.event.source) }
                    @if let Some(note) = &row.note { div.refused { (note) } }
                }
            }
        }
        h2 { "Why is this one person?" }
        ul.rows { @for step in explain(person) { li { (because(&step)) } } }
        @if !person.blocked_with.is_empty() {
            h2 { "Kept apart by a guard" }
            ul.rows { @for id in &person.blocked_with { li { a href={ "/console/person/" (id) } { (id) } } } }
        }
    };
    frame(person.name().unwrap_or("Without a name"), &body)
}

fn written(one: &MailingState, reports: &Reports<'_>) -> Markup {
    html! {
        li {
            b { (one.mailing) } " "
            @if let Some(show) = &one.show { (show) " " }
            @match &one.variant { Some(variant) => { span.tag { (variant) } } None => { span.dim { "held out" } } }
            @for step in &one.steps {
                div.dim {
                    (moment(step.at)) " · " (step.channel.name())
                    @if reports.was_read(step) { " · read" } @else if reports.was_refused(step) { span.refused { " · not taken" } }
                }
            }
        }
    }
}

/// An instant in the local time of the place.
fn there(at: Timestamp, zone: Option<&str>) -> Markup {
    let zone = zone.and_then(|name| jiff::tz::TimeZone::get(name).ok());
    html! {
        @match zone {
            Some(zone) => { time datetime=(at.to_string()) { (at.to_zoned_datetime(zone).strftime("%F %H:%M %Z")) } }
            None => { (moment(at)) }
        }
    }
}

fn because(step: &LinkReason) -> Markup {
    let shared: Vec<String> = step.shared.iter().map(ToString::to_string).collect();
    html! {
        (step.record.0)
        @match &step.to {
            Some(to) => { div.dim { "shares " (shared.join(", ")) " with " (to.0) } }
            None => { div.dim { "the first record" } }
        }
    }
}

pub fn event(row: &JournalRow) -> Markup {
    let json = serde_json::to_string_pretty(&row.event).unwrap_or_default();
    let body = html! {
        dl {
            dt { "Happened" } dd { (moment(row.event.time)) }
            dt { "Folded" } dd { (moment(row.folded_at)) }
            dt { "Source" } dd { (row.event.source) }
            dt { "Id" } dd { (row.event.id) }
            @if let Some(person) = row.person { dt { "Person" } dd { a href={ "/console/person/" (person) } { (person) } } }
            @if let Some(note) = &row.note { dt { "Note" } dd.refused { (note) } }
        }
        pre { (json) }
    };
    frame(short(&row.event), &body)
}
