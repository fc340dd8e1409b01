use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, backup::Backup};
use stagedoor_model::breakage;
use stagedoor_ports::Result;

use crate::{database::broken, private::private_file};

/// Pages copied in one step.
const STEP: i32 = 1_024;
/// How long another process may hold a file before the copy fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies files, each pair from the first path to the second. All copies show the same moment. Other processes may
/// continue to write: they wait only until that moment is fixed, some milliseconds.
///
/// # Errors
/// When a file cannot be opened, read or written, or another process holds it for ten seconds.
pub fn copy_together(files: &[(PathBuf, PathBuf)]) -> Result<()> {
    copied(files).map_err(|error| broken(&error))
}

fn copied(files: &[(PathBuf, PathBuf)]) -> rusqlite::Result<()> {
    let writers = files.iter().map(|(from, _)| opened(from)).collect::<rusqlite::Result<Vec<_>>>()?;
    let readers = files.iter().map(|(from, _)| opened(from)).collect::<rusqlite::Result<Vec<_>>>()?;
    if !breakage::is_on("files-copied-one-by-one") {
        // While the files are locked against writers, each reader fixes the state that it sees.
        writers.iter().try_for_each(|one| one.execute_batch("BEGIN IMMEDIATE"))?;
        for one in &readers {
            one.execute_batch("BEGIN")?;
            one.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        }
        writers.iter().try_for_each(|one| one.execute_batch("ROLLBACK"))?;
    }
    for (reader, (_, to)) in readers.iter().zip(files) {
        private_file(to).map_err(|_| rusqlite::Error::InvalidPath(to.clone()))?;
        let mut copy = Connection::open(to)?;
        Backup::new(reader, &mut copy)?.run_to_completion(STEP, Duration::ZERO, None)?;
    }
    Ok(())
}

fn opened(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}
