//! The pages of one person and of one event.

use std::collections::BTreeMap;

use maud::{Markup, html};
use stagedoor_engine::{Catalog, CrmState, LinkReason, MailingState, Person, PersonId, Reports, deals, explain, words};
use stagedoor_model::{Money, Timestamp};
use stagedoor_ports::JournalRow;
use stagedoor_texts::{Language, Text, console};

use crate::console::pages::{frame, moment, short};

pub fn person(
    person: &Person,
    rows: &[JournalRow],
    links: &BTreeMap<PersonId, CrmState>,
    catalog: &Catalog,
    language: Language,
) -> Markup {
    let say = |text: Text| text.to(language);
    let link = links.values().cloned().reduce(CrmState::join).unwrap_or_default();
    let contact = link.contact.id.or_else(|| person.contacts().first().copied());
    let body = html! {
        dl {
            dt { (say(console::in_crm())) }
            dd { @match contact { Some(id) => { (say(console::contact(id.to_string()))) } None => { (say(console::not_yet())) } } }
            @for phone in person.phones() { dt { (say(console::phone())) } dd { (phone.as_str()) } }
            @for email in person.emails() { dt { (say(console::email())) } dd { (email.as_str()) } }
            @for claim in person.claims() {
                dt { (say(console::kind(claim.kind().name()))) } dd { (claim.value()) " " span.tag { (say(console::not_confirmed())) } }
            }
            dt { (say(console::id())) } dd { (person.id) }
        }
        @if let Some(rejected) = &link.contact.rejected { p.refused { (say(console::contact_refused(&rejected.reason))) } }
        @if let Some(held) = &link.contact.held { p.refused { (say(console::contact_waits(&held.reason))) } }
        h2 { (say(console::deals())) }
        ul.rows {
            @for (key, deal) in deals(person, catalog) {
                li {
                    b { (deal.show.title) } @if let Some(city) = &deal.show.city { ", " (city) } " "
                    span.tag { (say(console::stage(deal.stage.name()))) } " "
                    @for (currency, sum) in &deal.sums {
                        @if let Some(worth) = deal.worth(currency) { (words(&worth)) " " }
                        @let back = Money { minor: sum.refunded, currency: currency.clone() };
                        @if back.minor > 0 { span.dim { (say(console::refunded(words(&back)))) " " } }
                    }
                    @if deal.show.cancelled { span.refused { " " (say(console::show_cancelled())) } }
                    @let known = link.deals.get(&key);
                    div.dim {
                        @match known.and_then(|deal| deal.id) { Some(id) => { (say(console::deal(id.to_string()))) } None => { (say(console::not_in_crm())) } }
                        @if let Some(at) = deal.show.starts_at { " · " (say(console::starts())) " " (there(at, deal.show.zone.as_deref())) }
                        @if !deal.orders.is_empty() { " · " (say(console::orders(deal.orders.iter().cloned().collect::<Vec<_>>().join(", ")))) }
                    }
                    @if let Some(rejected) = known.and_then(|deal| deal.rejected.as_ref()) { div.refused { (rejected.reason) } }
                    @if let Some(held) = known.and_then(|deal| deal.held.as_ref()) { div.refused { (say(console::deal_waits(&held.reason))) } }
                }
            }
        }
        @if !link.segments.is_empty() {
            p { (say(console::in_segments())) " " @for name in link.segments.keys() { span.tag { (name) } " " } }
        }
        @if !link.written.is_empty() {
            @let reports = Reports::of(person);
            h2 { (say(console::written())) }
            ul.rows { @for one in link.written.values() { (written(one, &reports, language)) } }
        }
        h2 { (say(console::timeline())) }
        ul.rows {
            @for row in rows {
                li {
                    (moment(row.event.time)) " " a href={ "/console/event/" (row.event.id) } { (short(&row.event)) } " "
                    span.tag { (row.event.source) }
                    @if let Some(note) = &row.note { div.refused { (note) } }
                }
            }
        }
        h2 { (say(console::why_one())) }
        ul.rows { @for step in explain(person) { li { (because(&step, language)) } } }
        @if !person.blocked_with.is_empty() {
            h2 { (say(console::apart())) }
            ul.rows { @for id in &person.blocked_with { li { a href={ "/console/person/" (id) } { (id) } } } }
        }
    };
    frame(person.name().unwrap_or(&say(console::no_name())), &body, language)
}

fn written(one: &MailingState, reports: &Reports<'_>, language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    html! {
        li {
            b { (one.mailing) } " "
            @if let Some(show) = &one.show { (show) " " }
            @match &one.variant { Some(variant) => { span.tag { (variant) } } None => { span.dim { (say(console::held_out())) } } }
            @for step in &one.steps {
                div.dim {
                    (moment(step.at)) " · " (step.channel.name())
                    @if reports.was_read(step) { " · " (say(console::read())) } @else if reports.was_refused(step) { span.refused { " · " (say(console::not_taken())) } }
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

fn because(step: &LinkReason, language: Language) -> Markup {
    let shared: Vec<String> = step.shared.iter().map(ToString::to_string).collect();
    html! {
        (step.record.0)
        @match &step.to {
            Some(to) => { div.dim { (console::shares(shared.join(", "), &to.0).to(language)) } }
            None => { div.dim { (console::first_record().to(language)) } }
        }
    }
}

pub fn event(row: &JournalRow, language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let json = serde_json::to_string_pretty(&row.event).unwrap_or_default();
    let body = html! {
        dl {
            dt { (say(console::happened())) } dd { (moment(row.event.time)) }
            dt { (say(console::folded())) } dd { (moment(row.folded_at)) }
            dt { (say(console::source())) } dd { (row.event.source) }
            dt { (say(console::id())) } dd { (row.event.id) }
            @if let Some(person) = row.person { dt { (say(console::human())) } dd { a href={ "/console/person/" (person) } { (person) } } }
            @if let Some(note) = &row.note { dt { (say(console::note())) } dd.refused { (note) } }
        }
        pre { (json) }
    };
    frame(short(&row.event), &body, language)
}
