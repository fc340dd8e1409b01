//! A clock that a test moves on.

pub use stagedoor::Moved;
