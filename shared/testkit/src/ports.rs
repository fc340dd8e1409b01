//! Ports for servers that a test starts.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    net::TcpListener,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Where the system takes ports for outgoing connections and for "any" from, by default: from 32768 on (Linux,
/// `ip_local_port_range`) or from 49152 on (RFC 6335, section 6).
const FIRST: u16 = 20_000;
/// Ports that a process claims at once, and how many such blocks there are.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 60;

/// The blocks that this process has, with the locks that keep others away, and the number of ports that it named.
struct Claimed {
    blocks: Vec<(u16, Option<File>)>,
    named: usize,
}

static CLAIMED: Mutex<Claimed> = Mutex::new(Claimed { blocks: Vec::new(), named: 0 });

/// A block that no other process of tests has.
fn claim(folder: &Path, own: &[(u16, Option<File>)]) -> Option<(u16, Option<File>)> {
    // Where the folder is another user's, processes only begin at different places.
    let begin = (std::process::id().wrapping_mul(7) % u32::from(BLOCKS)) as u16;
    let others = (0..BLOCKS).map(|n| (n + begin) % BLOCKS).filter(|block| own.iter().all(|(one, _)| one != block));
    let open = |block: u16| OpenOptions::new().create(true).append(true).open(folder.join(block.to_string()));
    let lock = |block: u16| match open(block) {
        Ok(file) => file.try_lock().is_ok().then_some((block, Some(file))),
        Err(_) => Some((block, None)),
    };
    others.into_iter().find_map(lock)
}

/// A port of 127.0.0.1 that nobody listens at. No other process of tests names it as long as this one lives.
///
/// Asking the system for port 0 and letting go of it again is no promise: before the server under test listens there,
/// the system may have given it to somebody's outgoing connection. These it gives to nobody by itself.
///
/// # Panics
/// When all twelve thousand are taken.
pub fn free_port() -> u16 {
    next().expect("a free port")
}

fn next() -> Option<u16> {
    let folder = std::env::temp_dir().join("stagedoor-test-ports");
    // It may be there.
    _ = DirBuilder::new().create(&folder);
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..usize::from(BLOCK) * usize::from(BLOCKS) {
        let (block, place) = (claimed.named / usize::from(BLOCK), (claimed.named % usize::from(BLOCK)) as u16);
        if block >= claimed.blocks.len() {
            match claim(&folder, &claimed.blocks) {
                Some(one) => claimed.blocks.push(one),
                // Others have the rest: its own are named again.
                None if claimed.blocks.is_empty() => return None,
                None => {
                    claimed.named = 0;
                    continue;
                }
            }
        }
        claimed.named += 1;
        let Some((block, _)) = claimed.blocks.get(block) else { continue };
        let port = FIRST + block * BLOCK + place;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Some(port);
        }
    }
    None
}
