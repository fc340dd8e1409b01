//! The console's lists.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use stagedoor_engine::{CrmState, Person, PersonId};
use stagedoor_model::{Event, Timestamp};
use stagedoor_ports::{Dirty, JournalRow, Outcome, Versioned};
use stagedoor_texts::{Language, Text, console};

use super::words::{alarm, reason, who_acts};
use crate::{report::Report, status::Status};

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

pub fn frame(title: &str, body: &Markup, language: Language) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Stagedoor" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    strong { a href="/" { "Stagedoor" } }
                    a href="/console/waiting" { (console::nav_waiting().to(language)) }
                    a href="/console/parked" { (console::nav_parked().to(language)) }
                    a href="/console/unrecognized" { (console::nav_unrecognized().to(language)) }
                    a href="/console/report" { (console::nav_report().to(language)) }
                }
                main { h1 { (title) } (body) }
            }
        }
    }
}

/// The report with a bar for each line: sent, delivered, opened, clicked. For each mailing a bar of its people who
/// bought.
pub fn report(report: &Report, language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let body = html! {
        @if report.lines.is_empty() { (sentence(&say(console::report_empty()))) }
        ul.rows {
            @for ((campaign, channel, city, variant), line) in &report.lines {
                li {
                    b { (campaign) } " " span.tag { (channel) } " " span.dim { (city) } @if variant != "-" { " " span.tag { (variant) } }
                    @let share = |part: usize| (part * 100).checked_div(line.sent).unwrap_or(0);
                    @for (what, count) in [(console::delivered(), line.delivered), (console::opened(), line.opened), (console::clicked(), line.clicked)] {
                        @if line.sent > 0 {
                            div.bar title=(what.to(language)) { span style=(format!("width:{}%", share(count))) {} (say(console::part(what, count, line.sent))) }
                        }
                    }
                    div.dim {
                        (say(console::bounced(line.bounced))) " · " (say(console::bought(line.bought)))
                        @for (currency, minor) in &line.revenue { " · " (minor / 100) "." (format!("{:02}", minor % 100)) " " (currency) }
                    }
                }
            }
        }
        @if !report.effects.is_empty() {
            h2 { (say(console::effects())) }
            p.dim { (say(console::effects_about())) }
            ul.rows {
                @for ((mailing, city, variant), effect) in &report.effects {
                    li {
                        b { (mailing) } " " span.dim { (city) } " " span.tag { (variant) }
                        @let share = (effect.bought * 100).checked_div(effect.people).unwrap_or(0);
                        div.bar { span style=(format!("width:{share}%")) {} (say(console::bought_of(effect.bought, effect.people))) " · " (effect.share()) }
                    }
                }
            }
        }
        p { a href="/console/report.csv" { (say(console::as_csv())) } " · " a href="/console/effect.csv" { (say(console::effects_as_csv())) } }
    };
    frame(&say(console::report_title()), &body, language)
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
    language: Language,
) -> Markup {
    let say = |text: Text| text.to(language);
    let tile = |name: Text, value: u64, href: &str, bad: bool| {
        html! { a href=(href) class=[bad.then_some("bad")] { b { (value) } (name.to(language)) } }
    };
    let refused: u64 = counters
        .iter()
        .filter(|((_, what), _)| !matches!(what.as_str(), "accepted" | "unrecognized"))
        .map(|(_, n)| n)
        .sum();
    let body = html! {
        div.tiles {
            (tile(console::tile_people(status.people), status.people, "/", false))
            (tile(console::tile_deals(status.deals), status.deals, "/", false))
            (tile(console::tile_events(status.events), status.events, "/", false))
            (tile(console::tile_queue(), status.queue_depth, "/", false))
            (tile(console::tile_waiting(), status.waiting, "/console/waiting", false))
            (tile(console::tile_parked(), status.rejected, "/console/parked", status.rejected > 0))
            (tile(console::tile_unrecognized(), status.unrecognized, "/console/unrecognized", status.unrecognized > 0))
            (tile(console::tile_dead_letters(status.dead_letters), status.dead_letters, "/", status.dead_letters > 0))
        }
        @if !status.alarms.is_empty() {
            h2 { (say(console::alarms())) }
            ul.rows {
                @for one in &status.alarms {
                    li {
                        span.refused { (alarm(one, language)) }
                        div.dim { (say(console::since())) " " (moment(one.since)) }
                    }
                }
            }
        }
        @if !status.waiting_reason.is_empty() {
            h2 { (say(console::why())) }
            ul.rows {
                @for one in &status.waiting_reason {
                    li {
                        span.refused { (reason(one, language)) }
                        @if let Some(id) = one.person {
                            " " a href={ "/console/person/" (id) } { (say(console::people(one.people))) }
                        }
                        div.dim {
                            (say(console::since())) " " (moment(one.since))
                            @if let Some(until) = one.until { ", " (say(console::until())) " " (moment(until)) }
                            ". " (say(console::to_act())) ": " (who_acts(one, language))
                        }
                    }
                }
            }
        }
        @if !status.unknown_zones.is_empty() {
            h2 { (say(console::zones())) }
            ul.rows { @for zone in &status.unknown_zones { li { (zone) } } }
        }
        form.find method="post" action="/console/find" {
            input name="identifier" placeholder=(say(console::find_hint())) aria-label=(say(console::identifier())) required;
            button { (say(console::find())) }
        }
        h2 { (say(console::latest())) }
        @if rows.is_empty() { p { (say(console::nothing_came())) } }
        ul.rows { @for row in rows { (delivery(row, row.person.and_then(|id| links.get(&id)), language)) } }
        @if refused > 0 {
            h2 { (say(console::refused())) }
            ul.rows {
                @for ((source, what), count) in counters.iter().filter(|((_, what), _)| !matches!(what.as_str(), "accepted" | "unrecognized")) {
                    li { (source) ": " (what) " " span.tag { (count) } }
                }
            }
        }
    };
    frame(&say(console::home()), &body, language)
}

pub fn short(event: &Event) -> &'static str {
    event.kind().trim_start_matches("stagedoor.").trim_end_matches(".v1")
}

fn delivery(row: &JournalRow, link: Option<&CrmState>, language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    html! {
        li {
            a href={ "/console/event/" (row.event.id) } { (short(&row.event)) } " " span.tag { (row.event.source) } " "
            @match (row.outcome, row.person) {
                (Outcome::Folded, Some(id)) => {
                    "→ " a.folded href={ "/console/person/" (id) } { (say(console::person())) }
                    (in_crm(link, language))
                }
                (Outcome::Show, _) => { "→ " (say(console::show_changed())) }
                (Outcome::Unrecognized, _) => { span.refused { (say(console::kept())) } }
                _ => { span.dim { (say(console::about_nobody())) } }
            }
            @if let Some(note) = &row.note { " " span.refused { (note) } }
            div.dim { (moment(row.event.time)) }
        }
    }
}

fn in_crm(link: Option<&CrmState>, language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let contact = link.and_then(|link| link.contact.id);
    let deals: Vec<u64> = link.into_iter().flat_map(|link| link.deals.values().filter_map(|deal| deal.id)).collect();
    html! {
        @match contact {
            Some(id) => { " → " (say(console::contact(id.to_string()))) }
            None => { span.dim { " → " (say(console::not_in_crm())) } }
        }
        @for deal in deals { " · " (say(console::deal(deal.to_string()))) }
    }
}

pub fn waiting(dirty: &[Dirty], language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let nameless = say(console::without_name());
    let body = html! {
        p { (say(console::waiting())) }
        @if dirty.is_empty() { p { (say(console::nobody_waits())) } }
        ul.rows {
            @for one in dirty {
                li {
                    a href={ "/console/person/" (one.person.id) } { (one.person.name().unwrap_or(&nameless)) }
                    (in_crm(Some(&one.link), language))
                }
            }
        }
    };
    frame(&say(console::waiting_title()), &body, language)
}

pub fn rejected(rows: &[(PersonId, CrmState)], people: &[Versioned<Person>], language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let nameless = say(console::without_name());
    let name = |id: &PersonId| {
        people.iter().find(|p| p.value.id == *id || p.value.merged_ids.contains(id)).and_then(|p| p.value.name())
    };
    let body = html! {
        p { (say(console::parked())) }
        @if rows.is_empty() { p { (say(console::nothing_parked())) } } @else {
            form method="post" { button { (say(console::try_all())) } }
        }
        ul.rows {
            @for (id, link) in rows {
                li {
                    a href={ "/console/person/" (id) } { (name(id).unwrap_or(&nameless)) }
                    @for rejected in link.rejected() { div.refused { (rejected.reason) } div.dim { (moment(rejected.at)) } }
                }
            }
        }
    };
    frame(&say(console::parked_title()), &body, language)
}

pub fn unrecognized(rows: &[JournalRow], language: Language) -> Markup {
    let say = |text: Text| text.to(language);
    let body = html! {
        p { (say(console::unrecognized())) }
        @if rows.is_empty() { p { (say(console::none())) } }
        ul.rows {
            @for row in rows {
                li {
                    a href={ "/console/event/" (row.event.id) } { (row.event.source) } " "
                    @if let stagedoor_model::Body::Unrecognized(kept) = &row.event.body { (kept.reason) }
                    div.dim { (moment(row.event.time)) }
                    form method="post" action={ "/console/replay/" (row.event.id) } { button { (say(console::replay())) } }
                }
            }
        }
    };
    frame(&say(console::unrecognized_title()), &body, language)
}
