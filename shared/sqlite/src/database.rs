use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rusqlite::{Connection, OpenFlags};
use stagedoor_model::breakage;
use stagedoor_ports::{PortError, Result};
use tokio::sync::oneshot;

use crate::{
    private::private_database,
    steps::{Step, bring_up, remove_copies},
};

/// The largest number of jobs in one commit: enough for a burst, few enough that none waits long.
const GROUP: usize = 512;

/// The largest file in bytes that is rewritten. That takes a second or two.
const SMALL: u64 = 64 * 1024 * 1024;

type Answer = Box<dyn FnOnce(std::result::Result<(), String>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;

const SETTINGS: &str =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000; PRAGMA secure_delete=ON;";

/// One file, with a writer thread that commits waiting jobs together, and a separate reader.
#[derive(Clone)]
pub struct Database {
    writer: mpsc::Sender<Job>,
    reader: Arc<Mutex<Connection>>,
    path: Arc<Path>,
}

impl Database {
    /// Opens or creates the file and takes it to the last of `steps`.
    pub fn open(path: &Path, steps: &[Step]) -> Result<Self> {
        private_database(path)
            .map_err(|error| PortError::Fail(format!("cannot keep {} to its owner: {error}", path.display())))?;
        let connection = Connection::open(path).map_err(|error| broken(&error))?;
        // `secure_delete` overwrites what is deleted or replaced, so that no earlier version of an erased person is
        // left in the file.
        connection.execute_batch(SETTINGS).map_err(|error| broken(&error))?;
        bring_up(&connection, path, steps)?;
        connection.set_prepared_statement_cache_capacity(64);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(|error| broken(&error))?;
        reader.execute_batch("PRAGMA busy_timeout=5000;").map_err(|error| broken(&error))?;
        #[cfg(feature = "testing")]
        let [connection, reader] = [connection, reader].map(crate::meter::watched);
        let (writer, jobs) = mpsc::channel();
        thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || write(&connection, &jobs))
            .map_err(|error| PortError::Fail(format!("cannot start the writer thread: {error}")))?;
        Ok(Self { writer, reader: Arc::new(Mutex::new(reader)), path: Arc::from(path) })
    }

    /// Opens a file for reading only, beside the process that writes it. Tables that an earlier version did not have
    /// are empty. `fill` is SQL that fills those derived from other tables.
    pub fn open_read_only(path: &Path, schema: &str, fill: &str) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(|error| broken(&error))?;
        reader.execute_batch("PRAGMA busy_timeout=5000;").map_err(|error| broken(&error))?;
        let is_without = |name| add_missing_tables(&reader, schema).map(|missing| missing.contains(name));
        if is_without("totals").map_err(|error| broken(&error))? {
            reader.execute_batch(fill).map_err(|error| broken(&error))?;
        }
        // No thread receives jobs, so each write is an error.
        let (writer, _) = mpsc::channel();
        Ok(Self { writer, reader: Arc::new(Mutex::new(reader)), path: Arc::from(path) })
    }

    /// Runs `work` in a commit, and returns when the commit is on the disk.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(move |connection| alone(connection, work)).await
    }

    /// Like [`Self::write`], for a single statement. It needs no savepoint, because SQLite reverts a failed statement
    /// itself.
    pub async fn write_one<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.submit(statement).await
    }

    async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            Box::new(move |committed| {
                let result = result.map_err(|error| broken(&error));
                // The caller may be gone; the write stays.
                _ = answer.send(committed.map_err(PortError::Retry).and(result));
            })
        });
        self.writer.send(job).map_err(|_| PortError::Fail("the writer thread ended".into()))?;
        answered.await.map_err(|_| PortError::Fail("the writer thread ended".into()))?
    }

    /// Moves the write-ahead log into the file and empties it, so that deleted data is in neither.
    pub async fn settle_log(&self) -> Result<()> {
        settle_log(&self.path).await
    }

    /// Rewrites a small file. SQLite overwrites what is deleted, but not what it moved within a page. A piece of an
    /// erased person may stay in unused bytes until something else is written there. A large file is not rewritten,
    /// because others would wait.
    pub async fn rewrite_if_small(&self) -> Result<()> {
        let size = std::fs::metadata(&self.path).map(|file| file.len());
        if size.is_ok_and(|size| size > SMALL) || breakage::is_on("erased-in-unused-bytes") {
            return Ok(());
        }
        // In memory: a temporary file would hold everybody outside of the data folder.
        let rewrite = "PRAGMA busy_timeout=5000; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; VACUUM;";
        run_apart(&self.path, rewrite).await
    }

    /// Removes the copies made before steps, because an erased person is still in them.
    pub fn remove_copies(&self) -> Result<()> {
        remove_copies(&self.path).map_err(|error| {
            PortError::Fail(format!("a copy of {} from before a step cannot be removed: {error}", self.path.display()))
        })
    }

    /// Like [`Self::read`], for a read of one or two pages, many times a second. It runs on the caller's thread, unless
    /// another read is under way.
    pub async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        if let Ok(connection) = self.reader.try_lock() {
            return work(&connection).map_err(|error| broken(&error));
        }
        self.read(work).await
    }

    /// Reads the last committed state.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || {
            let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| broken(&error))
        })
        .await
        .map_err(|error| PortError::Fail(error.to_string()))?
    }
}

/// Moves the write-ahead log of a file into it and empties it.
///
/// # Errors
/// When the file cannot be opened or written.
pub async fn settle_log(path: &Path) -> Result<()> {
    run_apart(path, "PRAGMA busy_timeout=5000; PRAGMA wal_checkpoint(TRUNCATE);").await
}

/// Runs statements on a separate connection, outside of a transaction.
async fn run_apart(path: &Path, statements: &'static str) -> Result<()> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let connection = Connection::open(&path).map_err(|error| broken(&error))?;
        connection.execute_batch(statements).map_err(|error| broken(&error))
    })
    .await
    .map_err(|error| PortError::Fail(error.to_string()))?
}

/// Creates the tables of `schema` that the file lacks, in the connection's memory. Returns their names.
fn add_missing_tables(connection: &Connection, schema: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut missing = BTreeSet::new();
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS ";
    for statement in schema.split(';') {
        let Some((_, rest)) = statement.split_once(TABLE) else { continue };
        let name = rest.split_whitespace().next().unwrap_or_default();
        let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
        let count: i64 = connection.query_row(sql, [name], |row| row.get(0))?;
        if count == 0 {
            connection.execute_batch(&format!("CREATE TEMP TABLE {rest};"))?;
            missing.insert(name.to_owned());
        }
    }
    Ok(missing)
}

// A job that fails reverts its own changes and no others.
fn alone<T>(connection: &Connection, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}

fn write(connection: &Connection, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let begun = connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
        let mut answers = vec![first(connection)];
        while answers.len() < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            answers.push(job(connection));
        }
        let committed = begun
            .and_then(|_| connection.prepare_cached("COMMIT")?.execute([]))
            .map(drop)
            .map_err(|error| error.to_string());
        if committed.is_err() {
            _ = connection.execute_batch("ROLLBACK");
        }
        for answer in answers {
            answer(committed.clone());
        }
    }
}

pub(crate) fn broken(error: &rusqlite::Error) -> PortError {
    match error.sqlite_error_code() {
        Some(
            rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked | rusqlite::ErrorCode::DiskFull,
        ) => PortError::Retry(error.to_string()),
        _ => PortError::Fail(error.to_string()),
    }
}
