use std::io::IsTerminal;

use stagedoor_model::breakage;
use tracing::Level;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts log lines on the standard error, as `RUST_LOG` says. Without `RUST_LOG` the level is warnings. A terminal
/// gets plain lines. A file or a pipe gets one JSON object a line, without colours: `timestamp` (UTC), `level`,
/// `target` and `fields` with the `message`. `RUST_LOG` holds levels and `target=level`, separated by commas; any
/// other part is ignored.
pub fn start_logs() {
    #[allow(clippy::disallowed_methods, reason = "how much is told is no setting of the hub")]
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let wanted = wanted(&asked);
    // At `trace` this library logs the phones that it reads, so it stays silent whatever RUST_LOG says.
    let quiet = filter_fn(|told| {
        !told.target().starts_with("rlibphonenumber")
            || *told.level() <= Level::INFO
            || breakage::is_on("phones-in-log")
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match std::io::stderr().is_terminal() || breakage::is_on("coloured-log-files") {
        true => lines.boxed(),
        // The same format as on AWS.
        false => lines.json().with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(quiet))).init();
}

fn wanted(asked: &str) -> Targets {
    let parts = asked.split(',').filter(|part| !part.trim().is_empty());
    let known = parts.filter_map(|part| part.trim().parse::<Targets>().ok());
    known.fold(Targets::new().with_default(Level::WARN), |all, part| {
        let all = part.default_level().map_or(all.clone(), |level| all.with_default(level));
        all.with_targets(part)
    })
}
