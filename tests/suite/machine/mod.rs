//! The hub as a service on one machine: where it listens, what it logs, whether it is ready, how it stops.

mod alarm_ways;
mod alarms;
mod backup;
mod kit;
mod logs;
mod metrics;
mod moved;
mod ready;
mod silent;
mod stop;
