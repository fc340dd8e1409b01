//! Segments of a tour: 50,000 people, 40 rules, and events that each change a person. Only the engine is timed, on
//! one core. The fact joins the person, the inputs of rules are derived, and the rules with changed inputs are
//! evaluated. At the end everybody is evaluated in full and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use stagedoor_engine::{
    Catalog, Person, PersonId, Segment, Traits, record_of,
    segments::{Looked, evaluate, parse, reevaluate, rules_number},
};
use stagedoor_model::{
    Body, Channel, ConsentClaim, ConsentRecorded, Event, EventId, FormSubmitted, Identifier, LetterReported, MARKETING,
    MailMessageState, Money, Order, OrderBody, OrderState, PromoIssued, ShowRef, SourceName, Ticket, Timestamp,
};

use crate::{
    figure::{Figure, Goal},
    identity::Dice,
};

const PEOPLE: u64 = 50_000;
const CHANGES: u64 = 200_000;
const NOW: i64 = 1_798_761_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

/// Four rules for each of ten cities.
fn segments() -> Result<Vec<Segment>, String> {
    let rules = (0..10).flat_map(|city| {
        [
            format!(
                "deal(show = \"site/show-{city}\" and stage = promo_issued and age(stage_since) >= 3d) and not bought"
            ),
            format!("show = \"site/show-{city}\" and consent(email) and not opened(campaign-{city})"),
            format!("clicked(campaign-{city}) or (orders >= {city} and not withdrawn(sms))"),
            format!("label(utm_source) = source-{city} and reached(email) and age(last_seen) < {}d", city + 1),
        ]
    });
    let one = |(n, text): (usize, String)| {
        let rule = parse(&text).map_err(|wrong| format!("{text}: {wrong}"))?;
        Ok(Segment { name: format!("segment-{n}"), title: String::new(), text, rule })
    };
    rules.enumerate().map(one).collect()
}

struct Known {
    person: Person,
    of: BTreeSet<String>,
    looked: Looked,
}

fn event(dice: &mut Dice, n: u64, serial: u64) -> Result<Event, String> {
    let source = SourceName::new("site")?;
    let whose = format!("email:fan{n}@example.com").parse::<Identifier>().map_err(|error| error.to_string())?;
    let (city, time) = (dice.roll(10), at(NOW - dice.roll(30 * 86_400) as i64));
    let show = ShowRef::id(format!("show-{city}"));
    let identifiers = BTreeSet::from([whose.clone()]);
    let body = match dice.roll(10) {
        0..2 => Body::FormSubmitted(FormSubmitted {
            identifiers,
            proof: Default::default(),
            name: Some(format!("Fan {n}")),
            form: Some("tour".into()),
            show: Some(show),
            amount: None,
            consents: vec![ConsentClaim {
                purpose: MARKETING.into(),
                channel: Channel::Email,
                given: true,
                wording: None,
            }],
            labels: BTreeMap::from([("utm_source".to_owned(), format!("source-{city}"))]),
            company: None,
        }),
        2 => {
            let price = Money::zero("RUB").map_err(|error| error.to_string())?.with_minor(150_000);
            Body::of_order(OrderBody::new(
                identifiers,
                None,
                Order {
                    revision: time,
                    state: OrderState::Paid,
                    id: format!("order-{serial}"),
                    number: None,
                    placed_at: time,
                    paid_at: Some(time),
                    paid: price.clone(),
                    total: price.clone(),
                    tickets: vec![Ticket { id: "1".into(), show, price, live: true }],
                    refunds: BTreeMap::new(),
                    promo_codes: vec![].into_iter().collect(),
                    utm: BTreeMap::new(),
                    items: vec![],
                    company: None,
                    show: None,
                    due_at: None,
                    checks: BTreeMap::new(),
                    refunds_as_of: None,
                    earlier_starts: BTreeMap::new(),
                    gone_refunds: None,
                },
            ))
        }
        3 => Body::PromoIssued(PromoIssued {
            identifiers,
            campaign: format!("campaign-{city}"),
            code: format!("CODE-{serial}"),
        }),
        4 => Body::ConsentRecorded(ConsentRecorded::withdrawn(whose, Channel::Email, "unsubscribe")),
        roll => Body::LetterReported(LetterReported {
            to: whose,
            state: match roll % 3 {
                0 => MailMessageState::Delivered,
                1 => MailMessageState::Opened,
                _ => MailMessageState::Clicked,
            },
            by_machine: false,
            letter: None,
            campaign: Some(format!("campaign-{city}")),
            link: None,
            code: None,
        }),
    };
    Ok(Event::new(&source, EventId::derive(&source, &[&serial.to_string()]), time, body))
}

fn join(person: &mut Person, event: &Event) {
    let Some(record) = record_of(event) else { return };
    let joined = match person.records.remove(&record.key) {
        Some(known) => known.join(record),
        None => record,
    };
    person.records.insert(joined.key.clone(), joined);
}

pub async fn run() -> Result<Vec<Figure>, String> {
    let (segments, catalog, leads) = (segments()?, Catalog::default(), BTreeMap::new());
    let rules = rules_number(&segments, &[]);
    let (mut dice, mut serial) = (Dice::new(7), 0);
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let first = event(&mut dice, n, serial)?;
        let origin = record_of(&first).map(|record| record.key).ok_or("no record")?;
        let mut person = Person {
            id: PersonId::of(&origin),
            origin,
            born: first.time,
            records: BTreeMap::new(),
            blocked_with: BTreeSet::new(),
            merged_ids: BTreeSet::new(),
            absorbed_origins: BTreeMap::new(),
            parted: BTreeSet::new(),
            absorbed_by: BTreeSet::new(),
            former: BTreeSet::new(),
            contested: BTreeSet::new(),
            withdrawn_beside: BTreeSet::new(),
            later: Default::default(),
        };
        join(&mut person, &first);
        for _ in 0..4 {
            serial += 1;
            join(&mut person, &event(&mut dice, n, serial)?);
        }
        serial += 1;
        let traits = Traits::of(&person, &leads, &catalog);
        let of = evaluate(&segments, &traits, at(NOW)).of;
        people.push(Known { person, of, looked: Looked::at(&traits, rules) });
    }
    let mut changes = Vec::new();
    for _ in 0..CHANGES {
        serial += 1;
        let n = dice.roll(PEOPLE);
        changes.push((n, event(&mut dice, n, serial)?));
    }
    let mut moved = 0_usize;
    let began = Instant::now();
    for (n, event) in &changes {
        let Some(known) = people.get_mut(*n as usize) else { continue };
        join(&mut known.person, event);
        let traits = Traits::of(&known.person, &leads, &catalog);
        let looked = Looked::at(&traits, rules);
        let now = reevaluate(&segments, &traits, at(NOW), known.looked.changed(&looked), &known.of).of;
        moved += now.symmetric_difference(&known.of).count();
        (known.of, known.looked) = (now, looked);
    }
    let seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut wrong = 0;
    for known in &people {
        let traits = Traits::of(&known.person, &leads, &catalog);
        wrong += usize::from(evaluate(&segments, &traits, at(NOW)).of != known.of);
    }
    let whole = PEOPLE as f64 / began.elapsed().as_secs_f64();
    let figure =
        |figure, value, unit, goal| Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal };
    Ok(vec![
        Figure {
            baseline: Some(whole),
            ..figure("segments.rate", CHANGES as f64 / seconds, "/s", Goal::ValueAtLeast(20_000.0))
        },
        figure("segments.moved", moved as f64, "moves", Goal::None),
        figure("segments.wrong", wrong as f64, "people", Goal::ValueAtMost(0.0)),
    ])
}
