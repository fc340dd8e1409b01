use stagedoor_model::breakage;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts log lines on the standard error, as `RUST_LOG` says; without it, warnings.
pub fn start_logs() {
    let wanted = EnvFilter::builder().with_default_directive(Level::WARN.into()).from_env_lossy();
    // At `trace` this library writes down the phones that it reads, whatever RUST_LOG asks for.
    let quiet = filter_fn(|told| {
        !told.target().starts_with("rlibphonenumber")
            || *told.level() <= Level::INFO
            || breakage::is_on("phones-in-log")
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(wanted.and(quiet));
    tracing_subscriber::registry().with(lines).init();
}
