use proptest::prelude::*;
use stagedoor_model::{Channel, Rung};

use super::*;
use crate::Stage;

const DAY: i64 = 86_400;
/// 2027-01-01T00:00:00Z.
const NOW: i64 = 1_798_761_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn deal(city: &str, stage: Stage, since: i64, starts: i64, tickets: usize) -> DealTraits {
    DealTraits {
        show: format!("cherry-{city}"),
        city: Some(city.to_owned()),
        stage,
        since: at(since),
        starts_at: Some(at(starts)),
        tickets,
        worth: 1_500,
        cancelled: false,
        moved: false,
        on_again: false,
        postponed: false,
        zone: None,
        campaign: None,
        moved_to: None,
    }
}

fn is_in(rule: &str, traits: &Traits, now: i64) -> bool {
    let rule = parse(rule).unwrap_or_else(|wrong| panic!("{rule}: {wrong}"));
    let segment = Segment { name: "s".into(), title: String::new(), text: String::new(), rule };
    !evaluate(&[segment], traits, at(now)).of.is_empty()
}

#[test]
fn a_managers_stage_is_named_by_the_crms_number_or_by_its_name() {
    let mut moved = deal("Уфа", Rung::Paid.into(), NOW, NOW, 2);
    let mut in_stage = |rule: &str, to: Option<u64>| {
        moved.moved_to = to;
        is_in(rule, &Traits { deals: vec![moved.clone()], ..Traits::default() }, NOW)
    };
    let bargains = "crm_stage = \"Negotiation or Review\"";
    let cases = [
        ("crm_stage = 142", Some(142), true),
        ("crm_stage = 142", Some(143), false),
        (bargains, Some(LeadChanged::number_of_stage("Negotiation or Review")), true),
        (bargains, Some(LeadChanged::number_of_stage("Closed Won")), false),
        (bargains, None, false),
    ];
    for (rule, to, is) in cases {
        assert_eq!(in_stage(rule, to), is, "{rule} of {to:?}");
    }
    for (rule, at) in [("crm_stage > \"Closed Won\"", 13), ("crm_stage = paid", 13), ("crm_stage =", 12)] {
        assert_eq!(parse(rule).expect_err(rule).at, at, "{rule}");
    }
}

#[test]
fn a_rule_says_what_it_reads_like() {
    let traits = Traits {
        deals: vec![
            deal("Уфа", Rung::PromoIssued.into(), NOW - 4 * DAY, NOW + 30 * DAY, 0),
            deal("Казань", Rung::Paid.into(), NOW - 50 * DAY, NOW - 10 * DAY, 2),
        ],
        orders: 1,
        bought_at: Some(at(NOW - 50 * DAY)),
        promo_unused: true,
        consents: [Channel::Email].into(),
        ways: ["email", "telegram"].into(),
        letters: vec![LetterTraits {
            campaign: Some("ufa".into()),
            delivered: true,
            seen_at: Some(at(NOW - DAY)),
            clicked: false,
        }],
        labels: [
            ("utm_source".to_owned(), ["vk".to_owned()].into()),
            ("tags".to_owned(), ["vip, press".to_owned()].into()),
        ]
        .into(),
        ..Traits::default()
    };
    for (rule, expected) in [
        ("city = \"Уфа\" and promo_unused", true),
        // The paid deal is in another city.
        ("deal(city = \"Уфа\" and stage >= paid)", false),
        ("city = \"Уфа\" and stage >= paid", true),
        ("deal(city = \"Уфа\" and stage = promo_issued and age(stage_since) >= 3d)", true),
        ("deal(city = \"Уфа\" and age(stage_since) > 4d)", false),
        ("deal(until(starts_at) <= 30d and until(starts_at) > 0d)", true),
        ("visits = 1 and age(last_visit) < 2w", true),
        ("not bought", false),
        ("consent(email) and not consent(sms) and reached(telegram)", true),
        ("opened(ufa) and not clicked(ufa)", true),
        ("opened and not opened(kazan)", true),
        ("label(utm_source) = vk and tag = press", true),
        ("tag != press", false),
        ("withdrawn(email) or (letters >= 1 and orders < 2)", true),
        ("not not promo_unused", true),
        ("worth > 1000 and tickets = 2", true),
        ("age(bought) >= 50d and age(bought) <= 50d", true),
    ] {
        assert_eq!(is_in(rule, &traits, NOW), expected, "{rule}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_place() {
    for (rule, told) in [
        ("", "at character 1: expected a fact; the rule breaks off"),
        ("city = ", "at character 8: expected a text; the rule breaks off"),
        ("town = \"Уфа\"", "at character 1: there is no fact \"town\""),
        ("bought and", "at character 11: expected a fact"),
        ("bought bought", "at character 8: expected \"and\", \"or\" or the end, found \"bought\""),
        ("(bought", "at character 8: a \"(\" is never closed"),
        ("age(stage_since) > 3d", "stage_since is a deal's: write deal(age(stage_since) …)"),
        ("age(bought) > 3", "expected a span such as 3d, found the number 3"),
        ("age(bought) > 3y", "\"3y\" is no number and no span"),
        ("consent(letter)", "there is no channel \"letter\"; there are email, sms, call, messenger"),
        ("stage = sold", "there is no stage \"sold\"; there are interested, talked"),
        ("city > \"Уфа\"", "a text is compared by = or !="),
        ("city = \"Уфа", "at character 8: a text that is never closed by \""),
        ("deal(deal(bought))", "\"deal\" stands outside of other deals"),
        ("bought & cancelled", "at character 8: '&' means nothing here"),
        ("reached(pigeon)", "there is no way \"pigeon\""),
    ] {
        let wrong = parse(rule).expect_err(rule).to_string();
        assert!(wrong.contains(told), "{rule}: {wrong}");
    }
    let deep = format!("{}bought{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).is_err(), "and no stack runs out");
    let deep = format!("{}bought{}", "(".repeat(100), ")".repeat(100));
    assert!(parse(&deep).expect_err("deep").to_string().contains("brackets"));
}

#[test]
fn time_alone_lets_somebody_enter_at_the_second_that_was_told() {
    let traits =
        Traits { deals: vec![deal("Уфа", Rung::PromoIssued.into(), NOW, NOW + 30 * DAY, 0)], ..Traits::default() };
    let rule = parse("deal(stage = promo_issued and age(stage_since) >= 3d)").expect("a rule");
    let all = [Segment { name: "cold".into(), title: String::new(), text: String::new(), rule }];
    let first = evaluate(&all, &traits, at(NOW));
    assert_eq!((first.of.len(), first.again_at), (0, Some(at(NOW + 3 * DAY))));
    assert!(evaluate(&all, &traits, at(NOW + 3 * DAY - 1)).of.is_empty());
    let then = evaluate(&all, &traits, first.again_at.expect("a time"));
    assert!(then.of.contains("cold"));
}

#[test]
fn why_somebody_is_not_in_is_told_test_by_test() {
    let traits = Traits { deals: vec![deal("Уфа", Rung::Paid.into(), NOW, NOW, 1)], ..Traits::default() };
    let text = "deal(city = \"Уфа\" and stage < paid) and consent(email)";
    let segment =
        Segment { name: "s".into(), title: String::new(), text: text.into(), rule: parse(text).expect("a rule") };
    let expected = [
        "no  all of",
        "no    one of 1 deals",
        "      deal cherry-Уфа (paid)",
        "no        all of",
        "yes         City = \"Уфа\"",
        "no          stage < paid",
        "no    consents to email",
    ];
    assert_eq!(why(&segment, &traits, at(NOW)), expected);
}

const RULES: [&str; 12] = [
    "bought",
    "not bought and promo_unused",
    "deal(city = \"Уфа\" and stage = promo_issued and age(stage_since) >= 3d)",
    "deal(until(starts_at) < 2d) or visits >= 2",
    "visits = 1 and age(last_visit) > 12h",
    "consent(email) and not withdrawn(sms)",
    "opened(ufa) and not clicked",
    "age(last_opened) <= 30d",
    "label(utm_source) = vk or tag = press",
    "reached(email) and orders >= 1",
    "age(last_seen) > 1w and age(first_seen) < 5w",
    "stage = paid and not (city = \"Казань\")",
];

fn segments() -> Vec<Segment> {
    let one = |(n, text): (usize, &&str)| Segment {
        name: format!("s{n}"),
        title: String::new(),
        text: (*text).to_owned(),
        rule: parse(text).expect("a rule"),
    };
    RULES.iter().enumerate().map(one).collect()
}

/// One change of the facts, or a step in time.
#[derive(Debug, Clone)]
enum Change {
    Wait(i64),
    Deal(usize, usize, i64, i64, usize),
    MailMessage(bool, i64, bool),
    Consent(bool),
    Withdrawn(bool),
    Way(bool),
    Label(bool),
    Promo(bool),
    Seen(i64),
}

fn change() -> impl Strategy<Value = Change> {
    let day = -60 * DAY..60 * DAY;
    prop_oneof![
        (1..20 * DAY).prop_map(Change::Wait),
        (0_usize..2, 0_usize..8, day.clone(), day.clone(), 0_usize..3)
            .prop_map(|(city, stage, since, starts, tickets)| Change::Deal(city, stage, since, starts, tickets)),
        (any::<bool>(), day.clone(), any::<bool>())
            .prop_map(|(ufa, seen, clicked)| Change::MailMessage(ufa, seen, clicked)),
        any::<bool>().prop_map(Change::Consent),
        any::<bool>().prop_map(Change::Withdrawn),
        any::<bool>().prop_map(Change::Way),
        any::<bool>().prop_map(Change::Label),
        any::<bool>().prop_map(Change::Promo),
        day.prop_map(Change::Seen),
    ]
}

fn apply(traits: &mut Traits, change: &Change, now: &mut i64) {
    match change {
        Change::Wait(seconds) => *now += seconds,
        Change::Deal(city, stage, since, starts, tickets) => {
            let city = ["Уфа", "Казань"][*city];
            traits.deals.retain(|known| known.city.as_deref() != Some(city));
            traits.deals.push(deal(city, Stage::ALL[*stage], *now + since, *now + starts, *tickets));
            traits.orders = traits.deals.len();
        }
        Change::MailMessage(ufa, seen, clicked) => traits.letters.push(LetterTraits {
            campaign: ufa.then(|| "ufa".to_owned()),
            delivered: true,
            seen_at: Some(at(*now + seen)),
            clicked: *clicked,
        }),
        Change::Consent(true) => _ = traits.consents.insert(Channel::Email),
        Change::Consent(false) => traits.consents.clear(),
        Change::Withdrawn(true) => _ = traits.withdrawn.insert(Channel::Sms),
        Change::Withdrawn(false) => traits.withdrawn.clear(),
        Change::Way(true) => _ = traits.ways.insert("email"),
        Change::Way(false) => traits.ways.clear(),
        Change::Label(true) => _ = traits.labels.insert("utm_source".into(), ["vk".to_owned()].into()),
        Change::Label(false) => traits.labels.clear(),
        Change::Promo(unused) => traits.promo_unused = *unused,
        Change::Seen(seen) => {
            traits.last_seen = traits.last_seen.max(Some(at(*now + seen)));
            traits.first_seen = traits.first_seen.or(traits.last_seen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever changes: evaluating only the changed parts gives the same result as evaluating everything.
    #[test]
    fn step_by_step_gives_what_looking_at_everything_gives(changes in prop::collection::vec(change(), 1..40)) {
        let (segments, mut traits, mut now) = (segments(), Traits::default(), NOW);
        let rules = rules_number(&segments, &[]);
        let mut known = evaluate(&segments, &traits, at(now)).of;
        let mut looked = Looked::at(&traits, rules);
        for change in &changes {
            apply(&mut traits, change, &mut now);
            let fresh = Looked::at(&traits, rules);
            let step = reevaluate(&segments, &traits, at(now), looked.changed(&fresh), &known);
            let whole = evaluate(&segments, &traits, at(now));
            prop_assert_eq!(&step.of, &whole.of, "after {:?}", change);
            prop_assert_eq!(step.again_at, whole.again_at);
            (known, looked) = (step.of, fresh);
        }
    }

    /// Membership never changes by time alone before the returned instant.
    #[test]
    fn nothing_turns_before_the_instant_that_was_told(
        changes in prop::collection::vec(change(), 1..20), part in 0.0_f64..1.0,
    ) {
        let (segments, mut traits, mut now) = (segments(), Traits::default(), NOW);
        changes.iter().for_each(|change| apply(&mut traits, change, &mut now));
        let first = evaluate(&segments, &traits, at(now));
        let until = first.again_at.map_or(now + 400 * DAY, |at| at.as_second());
        let between = now + ((until - now) as f64 * part) as i64;
        if between < until {
            prop_assert_eq!(evaluate(&segments, &traits, at(between)).of, first.of);
        }
    }
}
