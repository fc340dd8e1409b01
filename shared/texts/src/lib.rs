//! Texts for people, in English and Russian. The catalogues are Fluent files in `en/` and `ru/`, one file a subject.
//! A function a text makes it: a text that does not exist, or an argument that is missing, does not compile.
//!
//! A [`Text`] has no language. The code that knows the reader chooses the language last.

#[macro_use]
mod declare;
mod catalogue;
mod language;
mod text;

pub mod alarms;
pub mod commands;
pub mod console;
pub mod crm;
pub mod fans;
pub mod fields;
pub mod invoices;
pub mod notes;
pub mod pages;
pub mod reasons;
pub mod tasks;

pub use catalogue::{keys, source};
pub use language::Language;
pub use text::{Arg, MARK, Text};
