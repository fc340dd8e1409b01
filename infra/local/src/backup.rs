//! `backup` and `restore`: pack the hub's files of one moment into one file, and unpack it.

mod pack;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use stagedoor_config::Config;
use stagedoor_model::{Body, Event, Timestamp, breakage};
use stagedoor_ports::{Clock, PortError, SystemClock, from_stored};
use stagedoor_sqlite::private_folder;

use crate::{
    Hub,
    hub::UNFINISHED,
    lock::{LOCK_FILE, lock},
    serve::settle_logs,
};

/// The key of the hold on advertising after a restore: when the backup was made and when it was restored. Empty if
/// there is no hold.
const HOLD: &str = "restored/hold";

/// The folder that a file system makes at its top. A freshly mounted volume holds nothing else.
const OF_FILE_SYSTEM: &str = "lost+found";

/// Packs the files of a hub into `file`, also while it serves. Returns lines for the operator.
///
/// # Errors
/// A sentence: `file` exists, the folder holds no whole hub, or a file cannot be read or written.
pub async fn backup(folder: &Path, file: &Path) -> Result<Vec<String>, String> {
    backup_until(folder, file, std::future::pending()).await
}

/// As [`backup`]; once `stopped` ends, the unfinished files are removed.
///
/// # Errors
/// As [`backup`], or that it was stopped. The thread that copies a file may then run on for a while.
pub async fn backup_until(
    folder: &Path,
    file: &Path,
    stopped: impl Future<Output = ()>,
) -> Result<Vec<String>, String> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (folder, to, made_at, over) = (folder.to_owned(), file.to_owned(), SystemClock.now(), Arc::clone(&is_over));
    let packing = tokio::task::spawn_blocking(move || pack::pack(&folder, &to, made_at, &over));
    let packed = tokio::select! {
        packed = packing => packed,
        () = stopped => {
            if !breakage::is_on("stopped-backup-stays") {
                is_over.store(true, Ordering::Relaxed);
                pack::forget(file);
            }
            return Err("stopped by a signal; no backup was made".to_owned());
        }
    };
    let bytes = packed.map_err(|error| error.to_string())??;
    Ok(vec![
        format!("{}: {bytes} bytes, the hub as it was at {made_at}", file.display()),
        "It holds personal data and the CRM's tokens in the clear: encrypt it where it is kept.".to_owned(),
    ])
}

/// Unpacks a backup into an empty folder. Returns lines for the operator.
///
/// The hub may have sent messages since the backup, and does not send them again blindly. Each message in the outbox
/// counts as begun, so its channel is asked first. Advertising is held.
///
/// # Errors
/// A sentence: the folder is in use or not empty, or the file is no backup, was changed or is of a later version. Or
/// the files cannot be written. A failed restore leaves nothing in the folder.
pub async fn restore(config: Config, folder: &Path, file: &Path) -> Result<Vec<String>, String> {
    private_folder(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let _lock = lock(folder)?;
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    for one in std::fs::read_dir(folder).map_err(failed)? {
        let name = one.map_err(failed)?.file_name();
        if name != LOCK_FILE && (name != OF_FILE_SYSTEM || !folder.join(OF_FILE_SYSTEM).is_dir()) {
            return Err(format!("{} is not empty: restore into a new folder", folder.display()));
        }
    }
    let (to, from) = (folder.to_owned(), file.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || pack::unpack(&from, &to)).await;
    let unpacked = unpacked.map_err(|error| error.to_string()).flatten();
    let manifest = unpacked.inspect_err(|_| pack::empty(folder))?;
    let asked = settle(config, folder, manifest.made_at).await.map_err(|error| {
        if !breakage::is_on("failed-restore-leaves-people") {
            pack::empty(folder);
        }
        let version = &manifest.version;
        format!("{} is not restored, and nothing of it is left. Version {version} made it; {error}", file.display())
    })?;
    settle_logs(folder).await;
    std::fs::remove_file(folder.join(UNFINISHED)).map_err(failed)?;
    Ok(vec![
        format!("restored: the hub as it was at {} (version {})", manifest.made_at, manifest.version),
        format!("{asked} messages wait in the outbox; each is sent only if its channel says that it was not"),
        "advertising is held: `advertising` lists it, `advertising resume` sends it, `advertising drop` drops it"
            .into(),
        "who was erased since the backup is in it: erase them again".to_owned(),
        "next: `backfill`, then start the hub, then let providers deliver again what came since".to_owned(),
    ])
}

/// Prepares the outbox: what was sent since the backup is unknown. Returns how many messages wait.
async fn settle(config: Config, folder: &Path, made_at: Timestamp) -> Result<usize, String> {
    let hub = Hub::open_unfinished(config, folder, "restore").map_err(of_a_later_version)?;
    let told = |error: PortError| error.to_string();
    let waiting = messages(&hub).await.map_err(told)?;
    if !breakage::is_on("restored-outbox-sent-blindly") {
        hub.outreach.count_as_asked(&waiting).await.map_err(told)?;
    }
    let known = hub.store.key_value(HOLD).await.map_err(told)?;
    let gap = format!("{made_at} {}", hub.sync.clock.now());
    hub.store.compare_and_set(HOLD, &gap, known.map(|key_value| key_value.version)).await.map_err(told)?;
    Ok(waiting.len())
}

/// Cuts the error's advice about going back to a copy, which does not fit a backup.
fn of_a_later_version(error: String) -> String {
    match error.split_once(". Start the later version") {
        Some((told, _)) => format!("{told}. Restore it with that version"),
        None => error,
    }
}

/// All messages of the outbox and its dead letters. They stay where they are.
async fn messages(hub: &Hub) -> Result<Vec<Event>, PortError> {
    let found = Mutex::new(Vec::new());
    let look = |text: &str| {
        if let (Ok(event), Ok(mut found)) = (from_stored::<Event>(text), found.lock()) {
            found.push(event);
        }
    };
    hub.queues.outbox.look_through(&look).await?;
    Ok(found.into_inner().unwrap_or_default())
}

fn is_advertising(event: &Event) -> bool {
    matches!(&event.body, Body::MessageDecided(message) if message.marketing)
}

/// Since when advertising is held, if it is: a time, or words for a time that cannot be read. Any value of the key
/// holds.
///
/// # Errors
/// When the store cannot be read.
pub async fn held_since(hub: &Hub) -> Result<Option<String>, PortError> {
    let key_value = hub.store.key_value(HOLD).await?.filter(|key_value| !key_value.value.is_empty());
    Ok(key_value.and_then(|key_value| {
        let since: Option<Timestamp> = key_value.value.split_once(' ').and_then(|(_, since)| since.parse().ok());
        let since = since.map(|since| since.to_string());
        if breakage::is_on("unreadable-hold-holds-nothing") {
            return since;
        }
        Some(since.unwrap_or_else(|| "a time that cannot be read".to_owned()))
    }))
}

/// Tells the outbox whether advertising is held.
///
/// # Errors
/// When the store cannot be read. The outbox then keeps its earlier state.
pub(crate) async fn heed_hold(hub: &Hub) -> Result<(), PortError> {
    hub.outreach.pace.hold_advertising(held_since(hub).await?.is_some());
    Ok(())
}

/// What a command does with advertising that a restore holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    List,
    Resume,
    Drop,
}

/// Lists held advertising by mailing, and sends or drops it. Returns lines for the operator.
///
/// # Errors
/// A sentence: the files cannot be read or written.
pub async fn advertising(hub: &Hub, what: FolderState) -> Result<Vec<String>, String> {
    let told = |error: PortError| error.to_string();
    let Some(since) = held_since(hub).await.map_err(told)? else {
        return Ok(vec!["no advertising is held".to_owned()]);
    };
    let mut by_name = BTreeMap::<String, usize>::new();
    for event in messages(hub).await.map_err(told)?.iter().filter(|event| is_advertising(event)) {
        if let Body::MessageDecided(message) = &event.body {
            *by_name.entry(message.campaign.clone().unwrap_or_else(|| "-".into())).or_default() += 1;
        }
    }
    let mut lines = vec![format!("advertising is held since the restore at {since}")];
    lines.extend(by_name.iter().map(|(name, count)| format!("{name}: {count} messages")));
    if what == FolderState::List {
        return Ok(lines);
    }
    if what == FolderState::Drop {
        let is_meant = |text: &str| from_stored::<Event>(text).is_ok_and(|event| is_advertising(&event));
        let dropped = hub.queues.outbox.drop_those(&is_meant).await.map_err(told)?;
        lines.push(format!("{dropped} messages are dropped"));
    }
    let known = hub.store.key_value(HOLD).await.map_err(told)?;
    hub.store.compare_and_set(HOLD, "", known.map(|key_value| key_value.version)).await.map_err(told)?;
    lines.push("advertising is sent again, within five minutes".to_owned());
    Ok(lines)
}
