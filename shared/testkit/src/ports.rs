//! Ports for servers that a test starts.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    net::TcpListener,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The first port of the blocks. The system takes ports for outgoing connections and for "any" from 32768 on (Linux,
/// `ip_local_port_range`) or from 49152 on (RFC 6335, section 6).
const FIRST: u16 = 20_000;
/// The ports that a process claims at once. `BLOCKS` is the number of such blocks.
const BLOCK: u16 = 200;
const BLOCKS: u16 = 60;

/// The blocks of this process with the locks that keep others away, and the number of ports it has handed out.
struct Claimed {
    blocks: Vec<(u16, Option<File>)>,
    named: usize,
}

static CLAIMED: Mutex<Claimed> = Mutex::new(Claimed { blocks: Vec::new(), named: 0 });

/// Claims a block that no other test process has.
fn claim(folder: &Path, own: &[(u16, Option<File>)]) -> Option<(u16, Option<File>)> {
    // If the folder belongs to another user, processes only begin at different blocks.
    let begin = (std::process::id().wrapping_mul(7) % u32::from(BLOCKS)) as u16;
    let others = (0..BLOCKS).map(|n| (n + begin) % BLOCKS).filter(|block| own.iter().all(|(one, _)| one != block));
    let open = |block: u16| OpenOptions::new().create(true).append(true).open(folder.join(block.to_string()));
    let lock = |block: u16| match open(block) {
        Ok(file) => file.try_lock().is_ok().then_some((block, Some(file))),
        Err(_) => Some((block, None)),
    };
    others.into_iter().find_map(lock)
}

/// A port of 127.0.0.1 where nothing listens. No other test process gets it while this one lives.
///
/// Asking the system for port 0 and releasing it is no promise. Before the server under test listens there, the
/// system may give the port to an outgoing connection. It never does that with the ports used here.
///
/// # Panics
/// When all twelve thousand ports are taken.
pub fn free_port() -> u16 {
    next().expect("a free port")
}

fn next() -> Option<u16> {
    let folder = std::env::temp_dir().join("stagedoor-test-ports");
    // The folder may exist.
    _ = DirBuilder::new().create(&folder);
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..usize::from(BLOCK) * usize::from(BLOCKS) {
        let (block, place) = (claimed.named / usize::from(BLOCK), (claimed.named % usize::from(BLOCK)) as u16);
        if block >= claimed.blocks.len() {
            match claim(&folder, &claimed.blocks) {
                Some(one) => claimed.blocks.push(one),
                // Others have all the rest, so this process hands out its own ports again.
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
        // Tests write ports over those of a sample config, by text: 28081 would be taken for a place of 8081.
        let is_taken_for_another = port.to_string().contains("808");
        if !is_taken_for_another && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Some(port);
        }
    }
    None
}
