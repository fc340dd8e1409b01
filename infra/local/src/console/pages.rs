//! The console's lists.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Event, Timestamp};
use stagedoor_ports::{Dirty, JournalRow, Outcome, Versioned};

use super::words::Words;
use crate::{hub::Status, report::Report};

const STYLE: &str = "
:root { color-scheme: light dark; --edge: #8884; --soft: #8882; --bad: #c33; --good: #2a7; }
* { box-sizing: border-box } body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 68rem; padding: 0 1rem 3rem }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline; border-bottom: 1px solid var(--edge); padding: .8rem 0 }
header strong { font-size: 1.15rem } a { color: inherit } h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 1.8rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; padding: 0; margin: 1rem 0 }
.tiles a { display: block; padding: .6rem .7rem; border: 1px solid var(--edge); border-radius: .5rem; text-decoration: none }
.tiles b { display: block; font-size: 1.4rem } .bad b { color: var(--bad) }
.rows { list-style: none; padding: 0 } .rows li { padding: .55rem 0; border-bottom: 1px solid var(--soft); overflow-wrap: anywhere }
.dim { opacity: .65; font-size: .87rem } .tag { border: 1px solid var(--edge); border-radius: 1rem; padding: 0 .5rem; font-size: .82rem }
.refused { color: var(--bad) } .folded { color: var(--good) } dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem }
dt { opacity: .65 } dd { margin: 0; overflow-wrap: anywhere } pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); padding: .7rem; border-radius: .5rem }
input, button { font: inherit; padding: .4rem .7rem; border: 1px solid var(--edge); border-radius: .4rem; background: transparent; color: inherit }
.bar { position: relative; padding: 0 .3rem; margin: .15rem 0; font-size: .87rem } .bar span { position: absolute; inset: 0 auto 0 0; background: var(--soft); z-index: -1 }
form.find { display: flex; gap: .5rem } form.find input { flex: 1; min-width: 0 } button { cursor: pointer }
";

pub fn frame(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Stagedoor" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    strong { a href="/" { "Stagedoor" } }
                    a href="/console/waiting" { "Waiting" }
                    a href="/console/parked" { "Parked" }
                    a href="/console/unrecognized" { "Unrecognized" }
                    a href="/console/report" { "Report" }
                }
                main { h1 { (title) } (body) }
            }
        }
    }
}

/// The report with a bar for each line: sent, delivered, opened, clicked. For each mailing a bar of its people who
/// bought.
pub fn report(report: &Report) -> Markup {
    let body = html! {
        @if report.lines.is_empty() { (sentence("No letters and no sales that are owed to any.")) }
        ul.rows {
            @for ((campaign, channel, city, variant), line) in &report.lines {
                li {
                    b { (campaign) } " " span.tag { (channel) } " " span.dim { (city) } @if variant != "-" { " " span.tag { (variant) } }
                    @let share = |part: usize| (part * 100).checked_div(line.sent).unwrap_or(0);
                    @for (what, count) in [("delivered", line.delivered), ("opened", line.opened), ("clicked", line.clicked)] {
                        @if line.sent > 0 {
                            div.bar title=(what) { span style=(format!("width:{}%", share(count))) {} (what) " " (count) " of " (line.sent) }
                        }
                    }
                    div.dim {
                        "bounced " (line.bounced) " · bought " (line.bought)
                        @for (currency, minor) in &line.revenue { " · " (minor / 100) "." (format!("{:02}", minor % 100)) " " (currency) }
                    }
                }
            }
        }
        @if !report.effects.is_empty() {
            h2 { "What mailings did" }
            p.dim { "Of those who were written to, and of those who were held out, how many bought in the days after." }
            ul.rows {
                @for ((mailing, city, variant), effect) in &report.effects {
                    li {
                        b { (mailing) } " " span.dim { (city) } " " span.tag { (variant) }
                        @let share = (effect.bought * 100).checked_div(effect.people).unwrap_or(0);
                        div.bar title="bought" { span style=(format!("width:{share}%")) {} "bought " (effect.bought) " of " (effect.people) " · " (effect.share()) }
                    }
                }
            }
        }
        p { a href="/console/report.csv" { "As CSV" } " · " a href="/console/effect.csv" { "What mailings did, as CSV" } }
    };
    frame("Report", &body)
}

pub fn sentence(text: &str) -> Markup {
    html! { p { (text) } }
}

pub fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (at.strftime("%F %T")) " UTC" } }
}

pub fn home(
    status: &Status,
    rows: &[JournalRow],
    links: &BTreeMap<PersonId, CrmState>,
    counters: &BTreeMap<(String, String), u64>,
    words: &Words,
) -> Markup {
    let tile = |name: &str, value: u64, href: &str, bad: bool| {
        html! { a href=(href) class=[bad.then_some("bad")] { b { (value) } (name) } }
    };
    let refused: u64 = counters
        .iter()
        .filter(|((_, what), _)| !matches!(what.as_str(), "accepted" | "unrecognized"))
        .map(|(_, n)| n)
        .sum();
    let body = html! {
        div.tiles {
            (tile("people", status.people, "/", false))
            (tile("deals in the CRM", status.deals, "/", false))
            (tile("events", status.events, "/", false))
            (tile("in the queue", status.queue_depth, "/", false))
            (tile("waiting for the CRM", status.waiting, "/console/waiting", false))
            (tile("parked", status.rejected, "/console/parked", status.rejected > 0))
            (tile("unrecognized", status.unrecognized, "/console/unrecognized", status.unrecognized > 0))
            (tile("dead letters", status.dead_letters, "/", status.dead_letters > 0))
        }
        @if !status.alarms.is_empty() {
            h2 { (words.alarms) }
            ul.rows {
                @for one in &status.alarms {
                    li {
                        span.refused { (words.alarm(one)) }
                        div.dim { (words.since) " " (moment(one.since)) }
                    }
                }
            }
        }
        @if !status.waiting_reason.is_empty() {
            h2 { (words.why) }
            ul.rows {
                @for one in &status.waiting_reason {
                    li {
                        span.refused { (words.reason(one)) }
                        @if let Some(id) = one.person {
                            " " a href={ "/console/person/" (id) } { (one.people) " " (words.people) }
                        }
                        div.dim {
                            (words.since) " " (moment(one.since))
                            @if let Some(until) = one.until { ", " (words.until) " " (moment(until)) }
                            ". " (words.to_act) ": " (words.who_acts(one))
                        }
                    }
                }
            }
        }
        @if !status.unknown_zones.is_empty() {
            h2 { (words.zones) }
            ul.rows { @for zone in &status.unknown_zones { li { (zone) } } }
        }
        form.find method="post" action="/console/find" {
            input name="identifier" placeholder="A phone, an e-mail, or customer/qtickets:235" aria-label="Identifier" required;
            button { "Find" }
        }
        h2 { "Latest deliveries" }
        @if rows.is_empty() { p { "Nothing came yet." } }
        ul.rows { @for row in rows { (delivery(row, row.person.and_then(|id| links.get(&id)))) } }
        @if refused > 0 {
            h2 { "Refused since the start" }
            ul.rows {
                @for ((source, what), count) in counters.iter().filter(|((_, what), _)| !matches!(what.as_str(), "accepted" | "unrecognized")) {
                    li { (source) ": " (what) " " span.tag { (count) } }
                }
            }
        }
    };
    frame("What came and what became of it", &body)
}

pub fn short(event: &Event) -> &'static str {
    event.kind().trim_start_matches("stagedoor.").trim_end_matches(".v1")
}

fn delivery(row: &JournalRow, link: Option<&CrmState>) -> Markup {
    html! {
        li {
            a href={ "/console/event/" (row.event.id) } { (short(&row.event)) } " " span.tag { (row.event.source) } " "
            @match (row.outcome, row.person) {
                (Outcome::Folded, Some(id)) => {
                    "→ " a.folded href={ "/console/person/" (id) } { "person" }
                    (in_crm(link))
                }
                (Outcome::Show, _) => { "→ show changed" }
                (Outcome::Unrecognized, _) => { span.refused { "kept as unrecognized" } }
                _ => { span.dim { "about nobody we know" } }
            }
            @if let Some(note) = &row.note { " " span.refused { (note) } }
            div.dim { (moment(row.event.time)) }
        }
    }
}

fn in_crm(link: Option<&CrmState>) -> Markup {
    let contact = link.and_then(|link| link.contact.id);
    let deals: Vec<u64> = link.into_iter().flat_map(|link| link.deals.values().filter_map(|deal| deal.id)).collect();
    html! {
        @match contact {
            Some(id) => { " → contact " (id) }
            None => { span.dim { " → not in the CRM yet" } }
        }
        @for deal in deals { " · deal " (deal) }
    }
}

pub fn waiting(dirty: &[Dirty]) -> Markup {
    let body = html! {
        p { "People whose contact or deals in the CRM are not yet what they should be. They need no one: the hub tries on." }
        @if dirty.is_empty() { p { "Nobody waits." } }
        ul.rows {
            @for one in dirty {
                li {
                    a href={ "/console/person/" (one.person.id) } { (one.person.name().unwrap_or("without a name")) }
                    (in_crm(Some(&one.link)))
                }
            }
        }
    };
    frame("Waiting for the CRM", &body)
}

pub fn rejected(rows: &[(PersonId, CrmState)], people: &[Versioned<Person>]) -> Markup {
    let name = |id: &PersonId| {
        people.iter().find(|p| p.value.id == *id || p.value.merged_ids.contains(id)).and_then(|p| p.value.name())
    };
    let body = html! {
        p { "Rows that the CRM refuses as they are. Each comes by itself again when its person changes; after the cause is mended in the CRM, try all again. Money that matches no order, or came in another currency, stands here until it does." }
        @if rows.is_empty() { p { "Nothing is parked." } } @else {
            form method="post" { button { "Try all again" } }
        }
        ul.rows {
            @for (id, link) in rows {
                li {
                    a href={ "/console/person/" (id) } { (name(id).unwrap_or("without a name")) }
                    @for rejected in link.rejected() { div.refused { (rejected.reason) } div.dim { (moment(rejected.at)) } }
                }
            }
        }
    };
    frame("Parked", &body)
}

pub fn unrecognized(rows: &[JournalRow]) -> Markup {
    let body = html! {
        p { "Authentic deliveries that no parser understood. They are kept whole; replay them after the parser has learned." }
        @if rows.is_empty() { p { "None." } }
        ul.rows {
            @for row in rows {
                li {
                    a href={ "/console/event/" (row.event.id) } { (row.event.source) } " "
                    @if let stagedoor_model::Body::Unrecognized(kept) = &row.event.body { (kept.reason) }
                    div.dim { (moment(row.event.time)) }
                    form method="post" action={ "/console/replay/" (row.event.id) } { button { "Replay" } }
                }
            }
        }
    };
    frame("Unrecognized", &body)
}
