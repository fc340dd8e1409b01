//! `sync` against a CRM that is not kind: it answers too late, gives ids again, forgets rows.

mod chats;
mod doubles;
mod fake;
mod gone;
mod late;
mod shows;
mod starving;
