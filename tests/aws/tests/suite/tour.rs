use std::collections::BTreeSet;

use stagedoor_proof::{
    bill,
    proof::{Proof, prove},
    stack::FUNCTIONS,
};

/// What a role allows and the sample tour does not ask for, each with its reason.
const NOT_IN_THE_TOUR: [(&str, &str, &str); 11] = [
    // Logs go to CloudWatch through Lambda itself; the stand-in runs no function.
    ("*", "logs:CreateLogStream", ""),
    ("*", "logs:PutLogEvents", ""),
    // Lambda asks it before it polls.
    ("sync", "sqs:GetQueueAttributes", ""),
    ("outreach", "sqs:GetQueueAttributes", ""),
    // No messenger of the tour throttles; `a_throttled_messenger_is_waited_out` has one that does.
    ("outreach", "sqs:SendMessage", ":stagedoor-outbox"),
    // No shop of the tour is silent.
    ("sync", "sqs:SendMessage", ":stagedoor-events"),
    // The tour has no source that is pulled; `a_source_is_pulled_by_the_schedule` has one.
    ("schedule", "", ""),
    // Nobody of the tour was erased.
    ("sync", "dynamodb:BatchGetItem", "table/stagedoor-misc"),
    // A letter that is decided twice, or for somebody who was joined into another; not every tour has one.
    ("sync", "dynamodb:GetItem", "table/stagedoor-sent"),
    // A newcomer whose name another batch took meanwhile is taken back; not every tour has one.
    ("sync", "dynamodb:DeleteItem", "table/stagedoor-people"),
    ("sync", "dynamodb:DeleteItem", "table/stagedoor-names"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_tour_makes_the_same_crm_as_on_a_laptop() {
    let proof = prove(|line| println!("{line}")).await;
    // A test that fails shows what the tour cost.
    for line in proof.cost.lines().into_iter().chain(bill::table(&proof.cost)) {
        println!("  {line}");
    }
    let different = &proof.differences;
    assert!(
        different.is_empty(),
        "{} differences\n{}",
        different.len(),
        different[..different.len().min(4)].join("\n")
    );
    // The tour, and four fans who asked the site for news and chat about Ufa.
    assert_eq!((proof.contacts, proof.deals), (304, 348));
    letters_went_out_in_both_worlds(&proof);
    a_role_allows_what_its_function_does_and_nothing_else(&proof);
    a_delivery_can_be_followed_to_the_crm_by_its_trace(&proof);
    the_figures_add_up(&proof);
    the_counts_do_not_grow(&proof);
}

/// Whoever gave their ticket back was told of the show that moved if they still had it then: in no order nobody knows.
fn letters_went_out_in_both_worlds(proof: &Proof) {
    let (local, deployed, only_one) = &proof.letters;
    assert!(*local > 40 && *deployed > 40, "{local} and {deployed} letters");
    let strange: Vec<&usize> = only_one.iter().filter(|n| !matches!(**n % 10, 5 | 6)).collect();
    assert!(strange.is_empty(), "only one world wrote to {strange:?}");
}

fn a_role_allows_what_its_function_does_and_nothing_else(proof: &Proof) {
    assert!(proof.counts.refused.is_empty(), "a role allows too little: {:#?}", proof.counts.refused);
    for name in FUNCTIONS {
        let function = proof.aws.deployed.function(name);
        assert!(function.managed.is_empty(), "{name} has managed policies: {:?}", function.managed);
        for statement in &function.statements {
            for action in statement.action.all() {
                for resource in statement.resource.all() {
                    // Only secrets lie under a path: a new source needs no statement.
                    let is_path = action == "ssm:GetParameters" && resource.contains(":parameter/stagedoor/");
                    let is_wide = action.contains('*') || resource.contains('*') && !is_path;
                    assert!(!is_wide, "{name}: {action} on {resource} is wide");
                    let used = proof.counts.does(name, action, resource);
                    let known = NOT_IN_THE_TOUR.iter().any(|(who, what, end)| {
                        (*who == "*" || *who == name) && (what.is_empty() || *what == action) && resource.ends_with(end)
                    });
                    assert!(
                        used || known,
                        "{name} is allowed {action} on {resource} ({}) and never does it",
                        statement.sid
                    );
                }
            }
        }
    }
}

fn a_delivery_can_be_followed_to_the_crm_by_its_trace(proof: &Proof) {
    let lines = |function: &str, message: &str| -> Vec<serde_json::Value> {
        let log = proof.aws.function(function).log();
        let parsed = log.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        parsed.filter(|line| line.pointer("/fields/message").and_then(|m| m.as_str()) == Some(message)).collect()
    };
    let traces = |lines: &[serde_json::Value], pointer: &str| -> BTreeSet<String> {
        let texts = lines.iter().filter_map(|line| line.pointer(pointer)?.as_str());
        texts.flat_map(|text| text.split(' ')).filter(|text| text.len() == 32).map(str::to_owned).collect()
    };
    let accepted = lines("website", "delivery accepted");
    assert_eq!(accepted.len(), 214);
    let accepted = traces(&accepted, "/fields/trace");
    assert_eq!(accepted.len(), 214, "each delivery has a trace of its own");
    let mut told = traces(&lines("sync", "event folded"), "/fields/trace");
    told.extend(traces(&lines("sync", "a second delivery changes nothing"), "/fields/trace"));
    let missing: Vec<_> = accepted.difference(&told).collect();
    assert!(missing.is_empty(), "sync tells of each under its trace, but for {missing:?}");
    let calls = lines("sync", "CRM call");
    let spans = calls.iter().flat_map(|line| line["spans"].as_array().cloned().unwrap_or_default());
    let at_the_crm = traces(&spans.collect::<Vec<_>>(), "/traces");
    assert!(at_the_crm.len() >= 250 && at_the_crm.intersection(&accepted).count() > 50, "{}", at_the_crm.len());
}

fn the_figures_add_up(proof: &Proof) {
    let sum = |function: &str, figure: &str| -> f64 {
        let log = proof.aws.function(function).log();
        let lines = log.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line.get("_aws").is_some()).filter_map(|line| line.get(figure)?.as_f64()).sum()
    };
    for name in FUNCTIONS {
        let function = proof.aws.function(name);
        let (failures, longest) = (function.failures(), function.invocations().longest);
        assert!(failures.is_empty(), "{name} failed or was cut off, and told no figures: {failures:?}; {longest:?}");
    }
    assert_eq!(sum("website", "Accepted") + sum("ticketing", "Accepted"), 635.0);
    assert_eq!(sum("website", "Refused"), 0.0);
    let setup = proof.backfill_calls;
    let calls: u64 = proof.aws.sandbox.calls().values().sum();
    assert_eq!(sum("sync", "CrmCalls") as u64, calls - setup);
    assert_eq!(sum("sync", "Failed"), 0.0);
}

/// The limits of docs/cost.md: what grows them costs every user.
fn the_counts_do_not_grow(proof: &Proof) {
    let cost = &proof.cost;
    assert_eq!(cost.sends_per_delivery, 1.0);
    assert!(cost.scans <= 1, "the rules of segments are new once; {} scans", cost.scans);
    assert!(cost.journal_per_event <= 1.05, "{} journal units an event", cost.journal_per_event);
    assert!(cost.people_per_event <= 1.1, "{} people units an event", cost.people_per_event);
    // Of these, about one is the three segments of the config: entering one is an event of its own.
    assert!(cost.units_per_delivery <= 10.2, "{} write units a webhook in all: {cost:?}", cost.units_per_delivery);
    assert!(cost.sqs_receive_and_delete_per_event <= 0.5, "{}", cost.sqs_receive_and_delete_per_event);
}
