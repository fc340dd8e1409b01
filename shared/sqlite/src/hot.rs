//! Statements that run while a hub serves: their cost must not grow with what the hub has lived through.

use crate::store::cells;

/// The statements by the file that they are for.
#[doc(hidden)]
pub struct HotStatements {
    pub hub: Vec<&'static str>,
    pub queue: Vec<&'static str>,
}

#[doc(hidden)]
pub fn hot_statements() -> HotStatements {
    HotStatements { hub: vec![cells::from_prefix()], queue: vec![] }
}
