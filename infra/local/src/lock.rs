use std::{fs::File, path::Path};

/// The file in the data folder that a serving hub locks.
pub const LOCK_FILE: &str = "serving.lock";

/// Locks the folder for one hub, because two would both be the reconciler. The lock ends with the process, also after
/// a crash.
///
/// # Errors
/// A sentence: another hub serves from the folder, or the file cannot be made.
pub fn lock(folder: &Path) -> Result<File, String> {
    let path = folder.join(LOCK_FILE);
    let file =
        stagedoor_sqlite::private_file(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another hub serves from {}; give this one another --data", folder.display())),
    }
}
