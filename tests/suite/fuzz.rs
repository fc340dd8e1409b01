//! One target a provider: whatever arrives, parsing and verifying never panic. `bolero` runs them briefly here through
//! generated inputs and the samples' corpus; longer by hand: `cargo bolero test -p stagedoor-tests fuzz::<provider>`.

use bolero::check;
use stagedoor_tests::fuzz;

/// As a stranger would send it, and as the provider itself would.
fn bent(provider: &str) {
    // A panic ends the test: nothing of the target is used after one.
    let target = std::panic::AssertUnwindSafe(fuzz::Target::of(provider));
    for body in fuzz::corpus(provider) {
        target.take(&body);
    }
    check!().with_iterations(2_000).for_each(|bytes: &[u8]| target.take(bytes));
    // Near misses: a sample with a few bytes changed goes deeper than noise.
    let samples = fuzz::corpus(provider);
    check!().with_iterations(2_000).with_type::<(u8, Vec<(u16, u8)>)>().for_each(|(pick, edits)| {
        let Some(sample) = samples.get(usize::from(*pick) % samples.len().max(1)) else { return };
        let mut body = sample.clone();
        for (at, byte) in edits.iter().take(16) {
            let at = usize::from(*at) % body.len().max(1);
            if let Some(place) = body.get_mut(at) {
                *place = *byte;
            }
        }
        target.take(&body);
    });
}

// One test a provider: `const PROVIDERS` and a function with the name of each. build.rs reads the tables.
include!(concat!(env!("OUT_DIR"), "/fuzz_targets.rs"));

/// By hand, for hours: `STAGEDOOR_FUZZ=10000000 cargo test --release -p stagedoor-tests --test suite fuzz::long -- --ignored
/// --nocapture`. All providers in turn, a part at a time, so that it may be stopped at any moment. `STAGEDOOR_FUZZ_OF` names some,
/// parted by commas.
#[test]
#[ignore = "for hours, by hand"]
fn long() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (most, seed) = (number("STAGEDOOR_FUZZ").unwrap_or(100_000), number("STAGEDOOR_FUZZ_SEED").unwrap_or(1));
    const PART: u64 = 20_000;
    let mut targets: Vec<_> = PROVIDERS.iter().map(|name| (*name, Some(fuzz::Target::of(name)))).collect();
    targets.push(("the reader", None));
    if let Ok(only) = std::env::var("STAGEDOOR_FUZZ_OF") {
        targets.retain(|(name, _)| only.split(',').any(|one| one == *name));
    }
    let all: Vec<Vec<u8>> = PROVIDERS.iter().flat_map(|name| fuzz::corpus(name)).collect();
    let corpus = |name: &str, is_reader: bool| if is_reader { all.clone() } else { fuzz::corpus(name) };
    let mut benders: Vec<_> =
        targets.iter().map(|(name, target)| fuzz::Bender::new(corpus(name, target.is_none()), seed)).collect();
    let began = std::time::Instant::now();
    for part in 0..most.div_ceil(PART) {
        for ((name, target), bender) in targets.iter().zip(&mut benders) {
            for _ in 0..PART.min(most - part * PART) {
                let body = bender.body();
                let take = std::panic::AssertUnwindSafe(|| match target {
                    Some(target) => target.take(&body),
                    None => fuzz::read(&body),
                });
                if std::panic::catch_unwind(take).is_err() {
                    panic!("{name}: a panic; the input in hex: {}", hex::encode(&body));
                }
            }
        }
        let each = ((part + 1) * PART).min(most);
        println!("{each} inputs for each of {} targets, {} s", targets.len(), began.elapsed().as_secs());
    }
}
