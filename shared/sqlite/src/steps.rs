//! Upgrades a file by numbered steps. `user_version` is the number of the last step. A copy is kept before the first
//! step. A file of a later version is not written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags};
use stagedoor_model::breakage;
use stagedoor_ports::{Clock, PortError, Result, SystemClock};

use crate::{private::private_file, room};

/// One change of a file's tables. The change and its number are one transaction.
pub(crate) struct Step {
    pub number: i64,
    pub make: fn(&Connection) -> rusqlite::Result<()>,
}

/// Stands in a copy's name between the file's name and the number of the next step.
const BEFORE: &str = ".before-";
/// The end of a copy's name while it is being written.
const PART: &str = "part";
/// How long a copy is kept. After that, a return to the earlier version is unlikely.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// The first step whose files contain no remains of deleted rows. Earlier files are rewritten once to remove them.
const OVERWRITTEN: i64 = 1;

fn number(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    connection.query_row(sql, [], |row| row.get(0))
}

/// The number of the last step that the file has seen.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    number(connection, "PRAGMA user_version")
}

/// True if the file exists and has not seen all of `steps`.
pub(crate) fn is_behind(path: &Path, steps: &[Step]) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let look = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let is_new = number(&connection, "SELECT count(*) FROM sqlite_schema")? == 0;
        Ok(!is_new && version(&connection)? < steps.last().map_or(0, |step| step.number))
    };
    let wrong = |error: rusqlite::Error| PortError::Fail(format!("{} cannot be opened: {error}", path.display()));
    look().map_err(wrong)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The error for a file that a later version of Stagedoor wrote.
fn refused(path: &Path, version: i64, latest: i64) -> PortError {
    let name = name_of(path);
    PortError::Fail(format!(
        "a later version of Stagedoor wrote {}: it has format {version}, and this version writes format {latest}. Start the \
         later version, or go back with the copy: stop the hub, remove {name}, {name}-wal and {name}-shm, and rename the copy \
         {name}{BEFORE}<n> with the lowest n above {latest} to {name}. What happened since the copy is not in it",
        path.display()
    ))
}

/// Takes the file to the last of `steps`.
pub(crate) fn bring_up(connection: &Connection, path: &Path, steps: &[Step]) -> Result<()> {
    let wrong = |error: rusqlite::Error| PortError::Fail(format!("{} cannot be opened: {error}", path.display()));
    let latest = steps.last().map_or(0, |step| step.number);
    let is_new = || number(connection, "SELECT count(*) FROM sqlite_schema").map(|count| count == 0).map_err(wrong);
    // Two processes that upgrade a file at once would share a copy, or one would copy a half-changed file.
    let is_alone = !is_new()? && version(connection).map_err(wrong)? < latest && !breakage::is_on("steps-at-once");
    let _alone = if is_alone { Some(alone(path)?) } else { None };
    let found = version(connection).map_err(wrong)?;
    if found > latest && !breakage::is_on("later-file-written") {
        return Err(refused(path, found, latest));
    }
    let is_new = is_new()?;
    if !is_new && found < latest && !breakage::is_on("steps-ask-no-room") {
        // Room for the copy, the rewritten file, and the write-ahead log.
        let folder = path.parent().unwrap_or(Path::new(""));
        room::make_sure(folder, room::size_of(path).saturating_mul(3)).map_err(|reason| {
            let file = path.display();
            PortError::Fail(format!(
                "{file} has to be brought forward: {reason}. Nothing was changed. Make room on the disk, and start again"
            ))
        })?;
    }
    let mut kept = None;
    if !is_new && let Some(first) = steps.iter().find(|step| step.number > found) {
        tracing::info!(file = %path.display(), from = found, to = latest, "the file is brought forward; a copy is kept");
        kept = keep_copy(connection, path, first.number).map_err(|reason| {
            let file = path.display();
            PortError::Fail(format!("{file} has to be brought forward, and no copy of it can be kept: {reason}. Make room on the disk, as much as the file takes, and start again"))
        })?;
    }
    if !is_new && found < OVERWRITTEN && !breakage::is_on("old-remnants-stay") {
        connection.execute_batch("VACUUM").map_err(|error| {
            // If the copy stayed, each further start would keep one more copy of the same file.
            kept.iter().for_each(|copy| _ = fs::remove_file(copy));
            wrong(error)
        })?;
    }
    for step in steps {
        if let Err(error) = take(connection, step) {
            // If the copy stayed, each further start would keep one more copy of the same file.
            if let Some(copy) = kept.filter(|_| version(connection).is_ok_and(|now| now == found)) {
                _ = fs::remove_file(copy);
            }
            let (file, number) = (path.display(), step.number);
            return Err(PortError::Fail(format!(
                "step {number} of {file} failed, and the file is as it was before it: {error}"
            )));
        }
    }
    if !is_new && found < latest {
        // The write-ahead log still holds what was overwritten.
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(wrong)?;
    }
    remove_old_copies(path);
    Ok(())
}

/// Waits until no other process upgrades the file. The lock ends with the process in any case.
fn alone(path: &Path) -> Result<fs::File> {
    let lock = path.with_file_name(format!("{}.steps.lock", name_of(path)));
    let locked = private_file(&lock).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| PortError::Fail(format!("cannot lock {}: {error}", lock.display())))
}

/// Takes one step. Another process may be faster, so the number is read again under the lock.
fn take(connection: &Connection, step: &Step) -> rusqlite::Result<()> {
    if version(connection)? >= step.number {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = match version(connection) {
        Ok(version) if version >= step.number => Ok(()),
        Ok(_) => (step.make)(connection).and_then(|()| connection.pragma_update(None, "user_version", step.number)),
        Err(error) => Err(error),
    };
    let ended = made.and_then(|()| connection.execute_batch("COMMIT"));
    if ended.is_err() {
        // The error of the step says more than the error of the rollback.
        _ = connection.execute_batch("ROLLBACK");
    }
    ended
}

/// The name of the next copy. A kept copy is never overwritten: a second one of the same step gets a further number.
fn copy_name(path: &Path, step: i64) -> PathBuf {
    let first = path.with_file_name(format!("{}{BEFORE}{step}", name_of(path)));
    let further = (2..).map(|n| path.with_file_name(format!("{}{BEFORE}{step}.{n}", name_of(path))));
    let mut names = std::iter::once(first.clone()).chain(further);
    if breakage::is_on("kept-copy-overwritten") {
        return first;
    }
    names.find(|name| !name.exists()).unwrap_or(first)
}

/// Copies the file. The copy gets its name only when it is complete and on the disk.
fn keep_copy(connection: &Connection, path: &Path, step: i64) -> std::result::Result<Option<PathBuf>, String> {
    if breakage::is_on("no-copy-before-a-step") {
        return Ok(None);
    }
    let told = |error: io::Error| error.to_string();
    // Parts that killed processes left behind: no other process works on them now.
    for part in copies(path).iter().filter(|copy| copy.extension().is_some_and(|end| end == PART)) {
        fs::remove_file(part).map_err(told)?;
    }
    let copy = copy_name(path, step);
    let part = path.with_file_name(format!("{}{BEFORE}{step}.{}.{PART}", name_of(path), std::process::id()));
    // The copy contains personal data, so it is private from the first byte on.
    let file = private_file(&part).map_err(told)?;
    let into = part.to_str().ok_or("the folder's name is no text")?;
    connection.execute("VACUUM INTO ?1", [into]).map_err(|error| error.to_string())?;
    file.sync_all().map_err(told)?;
    fs::rename(&part, &copy).map_err(told)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(told)?;
    Ok(Some(copy))
}

/// The copies kept of this file.
fn copies(path: &Path) -> Vec<PathBuf> {
    let start = format!("{}{BEFORE}", name_of(path));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start)).map(|entry| entry.path()).collect()
}

/// Removes every copy, because an erased person is still in them.
///
/// # Errors
/// When one cannot be removed.
pub(crate) fn remove_copies(path: &Path) -> io::Result<()> {
    if breakage::is_on("copies-keep-the-erased") {
        return Ok(());
    }
    for copy in copies(path) {
        fs::remove_file(&copy)?;
        tracing::warn!(copy = %copy.display(), "the copy is removed: somebody who was erased is in it");
    }
    Ok(())
}

/// Removes copies that are older than [`KEPT`].
fn remove_old_copies(path: &Path) {
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(SystemClock.now().as_second()).unwrap_or(0));
    let age = |copy: &Path| now.duration_since(fs::metadata(copy).ok()?.modified().ok()?).ok();
    for copy in copies(path).into_iter().filter(|copy| age(copy).is_some_and(|age| age > KEPT)) {
        match fs::remove_file(&copy) {
            Ok(()) => tracing::info!(copy = %copy.display(), "the copy from before a step is removed after 30 days"),
            Err(error) => tracing::warn!(copy = %copy.display(), %error, "an old copy cannot be removed"),
        }
    }
}
