//! Measures the cost of statements for tests, as steps of SQLite's virtual machine for one run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{
    Connection, StatementStatus,
    trace::{TraceEvent, TraceEventCodes},
};

/// The most expensive run of each statement.
pub type Costs = BTreeMap<String, i64>;

static METER: Mutex<Option<Arc<Mutex<Costs>>>> = Mutex::new(None);

/// Starts to measure every file that is opened from now on.
pub fn measure() -> Arc<Mutex<Costs>> {
    let costs = Arc::<Mutex<Costs>>::default();
    *METER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&costs));
    costs
}

pub(crate) fn watched(mut connection: Connection) -> Connection {
    let Some(costs) = METER.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return connection };
    // SQLite returns the sum over all runs of a statement.
    let mut before = BTreeMap::<String, i32>::new();
    let count = move |event: TraceEvent<'_>| {
        let TraceEvent::Profile(statement, _) = event else { return };
        let (sql, sum) = (statement.sql().into_owned(), statement.get_status(StatementStatus::VmStep));
        let known = before.insert(sql.clone(), sum).filter(|known| *known <= sum).unwrap_or(0);
        let mut costs = costs.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = costs.entry(sql).or_default();
        *cost = (*cost).max(i64::from(sum - known));
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count)).unwrap_or_default();
    connection
}
