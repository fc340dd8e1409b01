//! Restricts files with personal data to one user of the machine.

use std::{fs, io, path::Path};

/// Creates `folder` for its owner alone, or removes the rights of others. A folder that all users share, such as /tmp,
/// stays as it is.
///
/// # Errors
/// When it cannot be created or changed.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    narrow(folder, 0o700)
}

/// Opens `file` for writing and creates it for its owner alone, or removes the rights of others.
///
/// # Errors
/// When it cannot be created or changed.
pub fn private_file(file: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(file)?;
    narrow(file, 0o600)?;
    Ok(opened)
}

/// Restricts the files of a database. SQLite gives its log the rights of the database, but an older log may have wider
/// ones.
pub(crate) fn private_database(file: &Path) -> io::Result<()> {
    drop(private_file(file)?);
    for suffix in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        if Path::new(&name).exists() {
            narrow(Path::new(&name), 0o600)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    /// The sticky bit: many users have files here.
    const SHARED: u32 = 0o1000;
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o077 == 0 || stagedoor_model::breakage::is_on("files-for-all") {
        return Ok(());
    }
    let (path_text, was) = (path.display(), format!("{:o}", now & 0o7777));
    if now & SHARED != 0 {
        tracing::warn!(path = %path_text, was, "others can list this folder; give the hub one of its own");
        return Ok(());
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        // Only the owner or root can change the rights of a file. If the hub may write it, the hub continues.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(path)?);
            tracing::warn!(
                path = %path_text, was, owner,
                "others can read this, and it belongs to another user: run `chmod {mode:o}` as its owner, or give the hub its own"
            );
            Ok(())
        }
        changed => {
            if changed.is_ok() {
                tracing::warn!(path = %path_text, was, now = format!("{mode:o}"), "others could read this; their rights are taken away");
            }
            changed
        }
    }
}

#[cfg(not(unix))]
fn narrow(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
