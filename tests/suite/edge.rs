//! The hub's outer edge: what a stranger can reach, and what stays closed.

mod console_address;
mod files;
mod hostile;
mod lenient;
mod links;
mod listener;
mod odd;
mod secrets;
mod two_processes;
