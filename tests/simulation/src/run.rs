//! Runs one world from its seed to its last quiet point.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stagedoor_model::{Record, RecordKey};

use crate::{
    act::{Actors, Habit},
    check::{self, Violation},
    hub::{self, Shared},
    rng::Rng,
    story::Story,
    switches::Switches,
    world::Human,
};

/// The result of a world.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    /// The actions in order, with their virtual times.
    pub story: Vec<String>,
    pub violations: Vec<Violation>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: --from {} --seeds 1", self.seed, self.seed)?;
        self.story.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        self.violations.iter().try_for_each(|one| writeln!(f, "  BROKEN {:?}: {}", one.invariant, one.what))
    }
}

/// The number of CRM calls after which a world ends: a hub that never rests calls for ever.
const MANY: u64 = 6_000;

/// The number of quiet points of a world.
const ACTS: usize = 2;

/// Runs one world.
///
/// # Errors
/// A sentence, when the world cannot be built.
pub fn run(seed: u64, switches: &Switches) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let _breakage = switches.breakage.map(stagedoor_model::breakage::switch_on);
    let outcome = runtime.block_on(live(seed, switches));
    // No task of this world outlives it.
    runtime.shutdown_background();
    outcome
}

/// Runs worlds on all cores. Returns the broken ones in the order of their seeds.
///
/// # Errors
/// A sentence, when a world cannot be built or panics.
pub fn run_many(from: u64, seeds: u64, switches: &Switches) -> Result<Vec<Outcome>, String> {
    let (next, until) = (Arc::new(AtomicU64::new(from)), from + seeds);
    let switches = switches.clone();
    let worlds = move |next: Arc<AtomicU64>, switches: Switches| {
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                return Ok(broken);
            }
            let outcome = run(seed, &switches)?;
            broken.extend((!outcome.violations.is_empty()).then_some(outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (next, switches) = (Arc::clone(&next), switches.clone());
            std::thread::spawn(move || worlds(next, switches))
        })
        .collect();
    let mut broken = Vec::new();
    for worker in workers {
        let part: Result<Vec<Outcome>, String> = worker.join().map_err(|_| "a world panicked".to_owned())?;
        broken.extend(part?);
    }
    broken.sort_by_key(|outcome| outcome.seed);
    Ok(broken)
}

async fn live(seed: u64, switches: &Switches) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed);
    let shared = Shared::open(seed, rng.fork(), &switches.habits, switches.second_crm)?;
    if switches.calls {
        shared.calls.open();
    }
    let mut story = Story::new(shared.clock);
    let crms: Vec<&str> = shared.crms().map(|crm| crm.name()).collect();
    story.tell(format!("the CRM is {}, the store is {}", crms.join(" with "), shared.stored_in()));
    let mut actors = Actors::new(Arc::clone(&shared), story, rng.fork(), switches.habits.clone());
    let crowd = switches.habits.contains(&Habit::CashierEmail) && rng.once_in(4);
    let humans = if crowd { 11 } else { 6 + rng.below(7) };
    actors.at_cashier = if crowd { (0..10).collect() } else { vec![] };
    let mut all: Vec<Human> = (0..humans).map(Human::new).collect();
    if !crowd
        && switches.habits.contains(&Habit::Family)
        && rng.once_in(3)
        && let [first, second, ..] = all.as_mut_slice()
    {
        second.shares_phone_of(first);
        let line = format!("{} and {} have one phone", first.name, second.name);
        actors.story.tell(line);
    }
    actors.story.world.humans = all;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(hub::carry_hooks(Arc::clone(&shared)));
    for name in ["first", "second"].into_iter().take(1 + rng.below(2)) {
        tasks.spawn(Arc::clone(&shared).supervise(name));
    }
    let mut violations = Vec::new();
    for _ in 0..ACTS {
        shared.calm.store(false, Ordering::Relaxed);
        for _ in 0..20 + rng.below(15) {
            step(&mut actors, &mut rng, switches);
            let pause = if rng.once_in(6) { 300_000 } else { 20_000 };
            // Shops give times in seconds.
            let least = if switches.habits.contains(&Habit::SameSecond) { 0 } else { 1_000 };
            tokio::time::sleep(Duration::from_millis(rng.between(least, pause))).await;
        }
        actors.serve_all();
        tokio::time::sleep(Duration::from_secs(2)).await;
        actors.correct_all();
        actors.calm();
        still(&shared, &actors).await;
        violations = check::check(&shared, &actors.story).await;
        violations.retain(|one| switches.invariants.contains(&one.invariant));
        actors.story.quiet_at = actors.now();
        let written = shared.way_out.calls().len();
        actors.story.tell(format!("quiet: {} violations, {written} messages", violations.len()));
        if !violations.is_empty() {
            break;
        }
        if switches.habits.contains(&Habit::Nights) && seed % 16 == 1 {
            actors.story.tell("a night passes");
            tokio::time::sleep(Duration::from_secs(10 * 3_600)).await;
        }
    }
    let mut story = actors.story.lines().to_vec();
    if switches.calls {
        story.extend(shared.way_out.calls().iter().map(|call| call.line(shared.clock)));
        story.extend(shared.calls.lines().iter().map(|(at, line)| format!("{}{line}", shared.clock.told_of(*at))));
        story.sort_by(|a, b| a.get(..8).cmp(&b.get(..8)));
    }
    if !violations.is_empty() {
        story.extend(shared.crms().flat_map(|crm| crm.account().lines()));
        if switches.calls {
            story.extend(known_to_hub(&shared).await);
        }
    }
    Ok(Outcome { seed, story, violations })
}

/// The CRM state of each person, as the hub knows it.
async fn known_to_hub(shared: &Shared) -> Vec<String> {
    let people = shared.store.scan_people(None, 1_000).await.unwrap_or_default().0;
    let links = shared.store.crm_states(&people).await.unwrap_or_default();
    let mut lines = Vec::new();
    for person in shared.store.load(&people).await.unwrap_or_default().into_iter().map(|one| one.value) {
        lines.push(format!("  {} (parted {:?}, absorbed {:?})", person.id, person.parted, person.merged_ids));
        let record = |(key, record): (&RecordKey, &Record)| {
            format!("    {}: {}", key.0, serde_json::to_string(record).unwrap_or_default())
        };
        lines.extend(person.records.iter().map(record));
    }
    for (person, link) in links {
        lines.push(format!("  {person} has {:?}, doubles {:?}, marked {:?}", link.contact, link.doubles, link.marked));
        lines.extend(link.deals.iter().map(|(show, deal)| format!("    {}: {deal:?}", show.0)));
        for (key, step) in link.written.iter().flat_map(|(key, one)| one.steps.iter().map(move |step| (key, step))) {
            let key_value = shared.store.key_value(&format!("sent/{}", step.decision)).await.unwrap_or_default();
            lines.push(format!("    wrote {key} at {}: {:?}", step.at, key_value.map(|key_value| key_value.value)));
        }
        lines.extend(link.invoices.iter().map(|(order, invoice)| format!("    {order}: {invoice:?}")));
    }
    lines
}

fn step(actors: &mut Actors, rng: &mut Rng, switches: &Switches) {
    match rng.below(15) {
        12 | 13 => {
            if let Some(habit) = rng.pick(&switches.habits) {
                actors.habit(*habit);
            }
        }
        14 => actors.correct_all(),
        0..=2 => actors.form(),
        3..=5 => actors.order(),
        6..=8 => actors.change_order(),
        9 => {
            if let Some(work) = rng.pick(&switches.work) {
                actors.manager(*work);
            }
        }
        _ => {
            if let Some(trouble) = rng.pick(&switches.troubles) {
                actors.trouble(*trouble);
            }
        }
    }
}

/// Lets virtual time pass until nothing waits, for at most six hours.
async fn still(shared: &Shared, actors: &Actors) {
    let mut quiet = 0;
    for minute in 0..120 {
        tokio::time::sleep(Duration::from_secs(if minute < 60 { 60 } else { 300 })).await;
        let still = actors.is_still() && shared.is_still().await;
        quiet = if still { quiet + 1 } else { 0 };
        // Overtaken and late webhooks arrive within this time.
        if quiet >= 20 || shared.crms().any(|crm| crm.calls() > MANY) {
            return;
        }
    }
}
