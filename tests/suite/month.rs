//! A month of a tour as `cargo run -- replay month` plays it: the shop, the CRM and the report agree, and nobody is written to against
//! their word.

use std::sync::Arc;

use stagedoor::{Moved, month};
use stagedoor_tests::hub::TestHub;

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_a_tour_adds_up_and_writes_to_nobody_against_their_word() {
    let clock = Moved::at(month::BEGINS);
    let hub = TestHub::by(Arc::new(clock.clone()), |text| text).await;
    let stand_ins = (&hub.sandbox, &hub.messengers, &hub.post);
    let (played, report) = month::play(&hub.hub, &clock, &hub.base, stand_ins).await.expect("it adds up");
    assert_eq!(played.wrong, Vec::<String>::new());
    let sent = |campaign: &str, channel: &str| -> usize {
        let own = report.lines.iter().filter(|((one, through, ..), _)| one == campaign && *through == channel);
        own.map(|(_, line)| line.sent).sum()
    };
    for (campaign, channel) in [
        ("501", "email"),
        ("ufa", "sms"),
        ("cart", "email"),
        ("cart", "messenger"),
        ("undecided", "messenger"),
        ("moved", "email"),
        ("called-off", "email"),
        ("called-off", "sms"),
        ("thanks", "email"),
    ] {
        assert!(sent(campaign, channel) > 0, "{campaign} through {channel}: {:?}", report.lines());
    }
    let mailed: usize = report
        .lines
        .iter()
        .filter(|((one, through, ..), _)| *through == "email" && one != "501")
        .map(|(_, line)| line.sent - line.bounced)
        .sum();
    assert_eq!(mailed, played.letters, "every letter of ours is in the report once: {:?}", report.lines());
    // Whoever has tickets to what was called off, or asked for it, was told, and whoever read the letter got no SMS.
    assert!(sent("called-off", "sms") < sent("called-off", "email"));
    let held_out: usize = report
        .effects
        .iter()
        .filter(|((_, _, variant), _)| variant == "hold-out")
        .map(|(_, effect)| effect.people)
        .sum();
    assert!(held_out > 0);
    assert!(played.unsubscribed > 0 && played.orders > 50);
}
