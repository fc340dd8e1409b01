//! Mailing lists in bulk: 50,000 people into ten lists through each provider's client and its stand-in, and a
//! simulated month.
//!
//! `enrol.calls` is the worst ratio of a provider's calls to the fewest that its bulk call allows. listmonk has no
//! bulk call that creates subscribers. Its fewest is one call a person, and one a batch that asks who is known.

use stagedoor_config::MailerProvider;
use stagedoor_engine::Member;
use stagedoor_model::Email;
use stagedoor_ports::Listed;
use stagedoor_tests::mailers::Mailer;

use crate::figure::{Figure, Goal};

const PEOPLE: usize = 50_000;
const LISTS: usize = 10;

fn figure(figure: &'static str, value: f64, unit: &'static str, goal: Goal) -> Figure {
    Figure { figure, value, unit, limit: None, ratio: None, baseline: None, goal }
}

pub async fn run() -> Result<Vec<Figure>, String> {
    let members: Vec<Member> = (0..PEOPLE)
        .map(|n| {
            let email = Email::parse(&format!("fan{n}@example.com")).map_err(|error| error.to_string())?;
            Ok(Member { email, name: Some(format!("Fan {n}")) })
        })
        .collect::<Result<_, String>>()?;
    let providers = [
        (MailerProvider::Mailchimp, "enrol.mailchimp", LISTS, PEOPLE),
        (MailerProvider::Unisender, "enrol.unisender", LISTS, PEOPLE),
        // Nine calls a second: a tenth of the people shows the same.
        (MailerProvider::Sendpulse, "enrol.sendpulse", 1, PEOPLE / 10),
        (MailerProvider::Listmonk, "enrol.listmonk", 1, PEOPLE / 10),
    ];
    let (mut figures, mut worst) = (Vec::new(), 0.0_f64);
    for (provider, name, lists, people) in providers {
        let mailer = Mailer::paced(provider).await;
        let batch = mailer.ours.batch();
        for list in 0..lists {
            for chunk in members.get(..people).unwrap_or(&members).chunks(batch) {
                let told = mailer.ours.add(&(134 + list).to_string(), chunk).await;
                if told.iter().any(|one| *one != Listed::Done) {
                    return Err(format!("{name}: somebody was not taken"));
                }
            }
        }
        let calls = mailer.ours.calls() as f64;
        let batches = (people.div_ceil(batch) * lists) as f64;
        let fewest = if provider == MailerProvider::Listmonk { batches + (people * lists) as f64 } else { batches };
        let thousands = (people * lists) as f64 / 1_000.0;
        worst = worst.max(calls / fewest);
        figures.push(Figure {
            limit: Some(fewest / thousands),
            ratio: Some(calls / fewest),
            ..figure(name, calls / thousands, "calls/1000", Goal::None)
        });
    }
    figures.insert(0, figure("enrol.calls", worst, "ratio", Goal::ValueAtMost(1.1)));
    Ok(figures)
}

/// Simulates a month of 2,000 people for each seed.
pub async fn month() -> Result<Vec<Figure>, String> {
    let (mut violations, mut withdrawals, mut longest, mut missing) = (0, 0, 0, 0);
    for seed in 1..=5 {
        let month = stagedoor_tests::month::live(seed * 104_729, 2_000).await;
        violations += month.violations.len();
        withdrawals += month.withdrawals;
        missing += month.missing;
        longest = longest.max(month.longest_hours);
    }
    Ok(vec![
        figure("consent.violations", violations as f64, "", Goal::ValueAtMost(0.0)),
        figure("consent.withdrawals", withdrawals as f64, "", Goal::None),
        figure("consent.missing", missing as f64, "people", Goal::ValueAtMost(0.0)),
        figure("consent.longest", longest as f64, "hours", Goal::None),
    ])
}
