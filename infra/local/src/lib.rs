//! The whole hub as one process: the routers of all functions, SQLite, the sandbox, the console.

/// mimalloc, because webhooks are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod alarms;
pub mod aws_backend;
pub mod backup;
mod bearers;
pub mod campaign;
mod clock;
pub mod commands;
pub mod config_changes;
pub mod console;
pub mod decisions;
pub mod export;
pub mod functions;
pub mod hub;
pub mod import;
pub mod listener;
mod lock;
mod logs;
pub mod metrics;
pub mod month;
mod ready;
pub mod report;
pub mod retention;
mod router;
pub mod season;
pub mod segment_commands;
pub mod serve;
mod status;
pub mod terminal;
pub mod tour;
pub mod ufa;

pub use clock::Moved;
pub use hub::{
    CONFIG_SCHEMA, Clients, DEFAULT_CONFIG, EVENT_SCHEMA, FILES, Hub, Queues, THEATRE_CONFIG, read_config,
    read_config_for,
};
pub use lock::{LOCK_FILE, lock};
pub use logs::start_logs;
pub use serve::{Running, bind, start, until_stopped};
pub use status::Status;
