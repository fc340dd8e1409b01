//! One binary: the whole suite links once.

mod architecture;
mod bad_input;
mod config;
mod crashes;
mod end_to_end;
mod golden;
mod kill;
mod shops;
mod tokens;
