use std::io::IsTerminal;

use stagedoor_model::breakage;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts log lines on the standard error, as `RUST_LOG` says; without it, warnings. A person at a terminal reads plain
/// lines. A file or a pipe gets one JSON object a line, without colours: `timestamp` (UTC), `level`, `target`
/// and `fields` with the `message`.
pub fn start_logs() {
    let wanted = EnvFilter::builder().with_default_directive(Level::WARN.into()).from_env_lossy();
    // At `trace` this library writes down the phones that it reads, whatever RUST_LOG asks for.
    let quiet = filter_fn(|told| {
        !told.target().starts_with("rlibphonenumber")
            || *told.level() <= Level::INFO
            || breakage::is_on("phones-in-log")
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match std::io::stderr().is_terminal() || breakage::is_on("coloured-log-files") {
        true => lines.boxed(),
        // As on AWS.
        false => lines.json().with_current_span(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(quiet))).init();
}
