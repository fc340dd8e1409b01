//! Checks the free room on the disk before something large is written.

use std::path::Path;

use rustix::fs::statvfs;

/// One million bytes.
const MB: u64 = 1_000_000;

/// The size in bytes of a database with its write-ahead log.
pub fn size_of(file: &Path) -> u64 {
    let bytes = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    bytes("") + bytes("-wal")
}

/// Makes sure that `needed` bytes are free on the disk of `folder`. If the system cannot tell, the disk counts as large
/// enough.
///
/// # Errors
/// A sentence with the needed and the free room in MB.
pub fn make_sure(folder: &Path, needed: u64) -> Result<(), String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(disk) = statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let (needed, folder) = (needed.div_ceil(MB), folder.display());
    Err(format!("{needed} MB of free room are needed on the disk of {folder}, and {} MB are free", free / MB))
}
