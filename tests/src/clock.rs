//! A clock that a test moves.

pub use stagedoor::Moved;
