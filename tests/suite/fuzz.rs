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

macro_rules! targets {
    ($($provider:ident),*) => { $(#[test] fn $provider() { bent(stringify!($provider)); })* };
}

targets!(
    tilda,
    form,
    carrotquest,
    pretix,
    qtickets,
    shop,
    ticketscloud,
    stripe,
    yookassa,
    amocrm,
    telegram,
    viber,
    vk,
    messenger,
    instagram,
    whatsapp,
    unisender,
    sendpulse,
    sendgrid,
    mailgun,
    mailchimp,
    postmark,
    ses,
    smsc,
    twilio
);
