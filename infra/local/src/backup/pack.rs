//! The file of a backup: a tar with a manifest and the hub's databases.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stagedoor_model::{Timestamp, breakage};
use stagedoor_sqlite::{copy_together, private_file, room};

use crate::{
    hub::{FILES, UNFINISHED},
    lock::LOCK_FILE,
};

/// The version of the format. It grows with each change that an earlier version cannot read.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// The size limit of a manifest. A larger file is no manifest.
const LONGEST_MANIFEST: u64 = 64 * 1024;

/// The first entry of the tar.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The files hold everything that was acknowledged before this time.
    pub made_at: Timestamp,
    /// The version of the hub that made the backup.
    pub version: String,
    pub files: Vec<Packed>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Packed {
    pub name: String,
    pub bytes: u64,
    /// The hash in hex.
    pub sha256: String,
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The suffix of the folder of copies while a backup is made.
const COPIES: &str = ".copying";
/// The suffix of the backup itself while it is written.
const PARTIAL: &str = ".partial";

/// Packs the folder's files. Returns the size of the backup in bytes. Once `is_over` is set, no further file begins.
pub fn pack(folder: &Path, file: &Path, made_at: Timestamp, is_over: &AtomicBool) -> Result<u64, String> {
    if !folder.join(FILES[0]).exists() {
        return Err(format!("there is no hub in {}", folder.display()));
    }
    if folder.join(UNFINISHED).exists() && !breakage::is_on("half-restored-folder-packed") {
        return Err(format!("a restore into {} was cut off: there is no whole hub in it", folder.display()));
    }
    if file.exists() {
        return Err(format!("{} is there already; a backup overwrites nothing", file.display()));
    }
    // The room for the copies, and for the file that they are packed into.
    let bytes: u64 = FILES.iter().map(|name| room::size_of(&folder.join(name))).sum();
    if !breakage::is_on("backup-asks-no-room") {
        let place = file.parent().unwrap_or(Path::new(""));
        room::make_sure(place, bytes.saturating_mul(2))
            .map_err(|reason| format!("no backup is begun: {reason}. Make room, or name a file on another disk"))?;
    }
    let copies = beside(file, COPIES);
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&copies).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => belongs(&copies),
        _ => format!("cannot make {}: {error}", copies.display()),
    })?;
    let packed = packed(folder, file, made_at, is_over);
    _ = fs::remove_dir_all(&copies);
    packed
}

fn belongs(path: &Path) -> String {
    format!("{} belongs to a backup that runs or was cut off; remove it if none runs", path.display())
}

/// Removes the unfinished files of `pack`, for a process that ends in the middle.
pub fn forget(file: &Path) {
    _ = fs::remove_dir_all(beside(file, COPIES));
    _ = fs::remove_file(beside(file, PARTIAL));
}

/// Creates a new file that only its owner may read. Fails if the path exists, so that no foreign link is followed.
fn new_file(path: &Path) -> io::Result<File> {
    if breakage::is_on("backup-follows-links") {
        return private_file(path);
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn packed(folder: &Path, file: &Path, made_at: Timestamp, is_over: &AtomicBool) -> Result<u64, String> {
    let copies = beside(file, COPIES);
    let pairs: Vec<_> = FILES.iter().map(|name| (folder.join(name), copies.join(name))).collect();
    copy_together(&pairs).map_err(|error| format!("the files cannot be copied: {error}"))?;
    let told = |error: io::Error| format!("cannot write {}: {error}", file.display());
    let manifest = manifest(&copies, made_at).map_err(told)?;
    if is_over.load(Ordering::Relaxed) {
        return Err("the backup was stopped".to_owned());
    }
    let partial = beside(file, PARTIAL);
    let to = new_file(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => belongs(&partial),
        _ => told(error),
    })?;
    let bytes = written(&copies, to, &manifest).and_then(|bytes| {
        fs::rename(&partial, file)?;
        let parent = file.parent().filter(|one| *one != Path::new("")).unwrap_or_else(|| Path::new("."));
        File::open(parent)?.sync_all()?;
        Ok(bytes)
    });
    bytes.map_err(|error| {
        _ = fs::remove_file(&partial);
        told(error)
    })
}

fn manifest(copies: &Path, made_at: Timestamp) -> io::Result<Manifest> {
    let mut files = Vec::new();
    for name in FILES {
        let (bytes, sha256) = copy(&mut File::open(copies.join(name))?, &mut io::sink())?;
        files.push(Packed { name: name.to_owned(), bytes, sha256 });
    }
    Ok(Manifest { format: FORMAT, made_at, version: env!("CARGO_PKG_VERSION").to_owned(), files })
}

fn written(copies: &Path, file: File, manifest: &Manifest) -> io::Result<u64> {
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
    let mut tar = tar::Builder::new(file);
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(manifest.made_at.as_second()).unwrap_or(0));
        header
    };
    tar.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
    for one in &manifest.files {
        tar.append_data(&mut header(one.bytes), &one.name, File::open(copies.join(&one.name))?)?;
    }
    let file = tar.into_inner()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Removes what a restore wrote into a folder that was empty before.
pub fn empty(folder: &Path) {
    for one in fs::read_dir(folder).into_iter().flatten().flatten().filter(|one| one.file_name() != LOCK_FILE) {
        // The mark of an unfinished restore goes last.
        if one.file_name() != UNFINISHED {
            _ = fs::remove_file(one.path());
        }
    }
    _ = fs::remove_file(folder.join(UNFINISHED));
}

/// Unpacks into an empty folder. On an error the caller empties it again.
pub fn unpack(file: &Path, folder: &Path) -> Result<Manifest, String> {
    let told = |error: io::Error| format!("cannot read {}: {error}", file.display());
    let none = |what: &str| format!("{} is no whole backup: {what}", file.display());
    private_file(&folder.join(UNFINISHED)).map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
    let mut tar = tar::Archive::new(File::open(file).map_err(told)?);
    let mut entries = tar.entries().map_err(told)?;
    let mut first = entries.next().ok_or_else(|| none("it is empty"))?.map_err(told)?;
    if first.path().map_err(told)?.as_os_str() != OsStr::new(MANIFEST) || first.size() > LONGEST_MANIFEST {
        return Err(none("it does not begin with a manifest"));
    }
    let mut text = Vec::new();
    first.read_to_end(&mut text).map_err(told)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| none(&error.to_string()))?;
    if manifest.format > FORMAT {
        let (version, format) = (&manifest.version, manifest.format);
        return Err(format!("{} has format {format}: restore it with version {version}", file.display()));
    }
    for name in FILES {
        let is_there = manifest.files.iter().any(|one| one.name == name);
        let entry = entries.next().filter(|_| is_there).ok_or_else(|| none(&format!("{name} is missing")))?;
        let mut entry = entry.map_err(told)?;
        if entry.path().map_err(told)?.as_os_str() != OsStr::new(name) {
            return Err(none(&format!("{name} is missing")));
        }
        let mut to = private_file(&folder.join(name)).map_err(|error| format!("cannot write {name}: {error}"))?;
        let (bytes, sha256) = copy(&mut entry, &mut to).map_err(told)?;
        to.sync_all().map_err(told)?;
        let is_whole = manifest.files.iter().any(|one| one.name == name && one.bytes == bytes && one.sha256 == sha256);
        if !is_whole && !breakage::is_on("changed-backup-restored") {
            return Err(none(&format!("{name} was changed")));
        }
    }
    Ok(manifest)
}

/// Copies everything. Returns the number of bytes and their SHA-256 in hex.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut sum, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        let read = from.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        sum.update(part);
        to.write_all(part)?;
        bytes += read as u64;
    }
    Ok((bytes, hex::encode(sum.finalize())))
}
