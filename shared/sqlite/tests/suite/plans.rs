//! What a statement reads is what it asks for, however much the hub has lived through.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;
use stagedoor_ports::SystemClock;
use stagedoor_sqlite::{SqliteQueue, SqliteStore, hot_statements};

/// How SQLite goes about a statement, a line a step.
fn plan_of(file: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(file).expect("opened");
    let mut plan =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
    // A parameter that is not bound is NULL: only the shape counts.
    let mut rows = plan.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().expect("a plan") {
        steps.push(row.get::<_, String>(3).expect("a step"));
    }
    steps
}

#[test]
fn no_statement_of_a_serving_hub_reads_a_whole_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["hub.db", "queue.db"].map(|name| folder.path().join(name));
    let [hub, queue] = &files;
    drop(SqliteStore::open(hub).expect("opened"));
    drop(SqliteQueue::open(queue, Arc::new(SystemClock)).expect("opened"));
    let statements = hot_statements();
    let of = |file: &Path, all: &[&str]| {
        let scans = |sql: &&str| plan_of(file, sql).iter().any(|step| step.starts_with("SCAN"));
        all.iter().copied().filter(scans).map(str::to_owned).collect::<Vec<_>>()
    };
    let scans = [of(hub, &statements.hub), of(queue, &statements.queue)].concat();
    assert!(scans.is_empty(), "they read everything: {scans:#?}");
}
