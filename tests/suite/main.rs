//! One binary: the whole suite links once.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "it is test code")]

mod answers;
mod architecture;
mod bad_input;
mod both_crms;
mod bulk;
mod channels;
mod chats;
mod clients;
mod config;
mod consent;
mod console;
mod crashes;
mod crm_port;
mod end_to_end;
mod fuzz;
mod golden;
mod kill;
mod letters;
mod links;
mod lists;
mod mail;
mod mailings;
mod mailings_decided;
mod month;
mod promo;
mod report;
mod segments;
mod shops;
mod simulation;
mod stored_data;
mod theatre;
mod tokens;
mod ufa;
mod unkind;
mod vtiger_recorded;
