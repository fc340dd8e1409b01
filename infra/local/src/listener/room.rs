//! Open connections: limits by address and by network, and room for new ones when idle ones take most of it.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use stagedoor_model::breakage;
use stagedoor_webhook::ClientAddress;
use tokio::sync::Notify;

use super::Limits;

/// Whether an address forwards many clients, and the order in which connections began to wait.
type ClosingOrder = (bool, u64);

#[derive(Default)]
struct Seats {
    open: usize,
    of_address: HashMap<IpAddr, usize>,
    of_site: HashMap<IpAddr, usize>,
    next: u64,
    /// Connections without a complete head; the first one is closed first.
    waiting: BTreeMap<ClosingOrder, Arc<Notify>>,
}

impl Seats {
    fn wait(&mut self, of_many: bool, leave: &Arc<Notify>) -> ClosingOrder {
        let turn = (of_many, self.next);
        self.next += 1;
        self.waiting.insert(turn, Arc::clone(leave));
        turn
    }
}

/// All open connections of a listener.
pub struct Room {
    /// Above this number of connections, the longest waiting ones are closed.
    newly_shared: usize,
    per_address: usize,
    per_site: usize,
    seats: Mutex<Seats>,
}

impl Room {
    /// Room for this number of connections in all.
    pub fn new(connections: usize, limits: &Limits) -> Self {
        let (per_address, per_site) = (limits.per_address, limits.per_site);
        Self { newly_shared: connections - connections / 4, per_address, per_site, seats: Mutex::default() }
    }

    /// Admits a connection. `None` if the address, or its network, has as many as it may. An address that is
    /// `of_many` forwards many clients and has no such limit.
    pub fn admit(self: &Arc<Self>, address: IpAddr, of_many: bool) -> Option<Seat> {
        let (network, site) = (ClientAddress(address).network(), ClientAddress(address).site());
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |all: &HashMap<IpAddr, usize>, key| all.get(&key).copied().unwrap_or(0);
        let is_full = count(&seats.of_address, network) >= self.per_address;
        // An IPv4 address is its own site.
        let site_is_full = network != site && count(&seats.of_site, site) >= self.per_site;
        if !of_many && (is_full || site_is_full && !breakage::is_on("no-cap-by-site")) {
            return None;
        }
        *seats.of_address.entry(network).or_default() += 1;
        *seats.of_site.entry(site).or_default() += 1;
        seats.open += 1;
        self.make_room(&mut seats);
        let leave = Arc::new(Notify::new());
        let turn = Mutex::new(Some(seats.wait(of_many, &leave)));
        Some(Seat { room: Arc::clone(self), network, site, of_many, leave, turn })
    }

    fn make_room(&self, seats: &mut Seats) {
        if seats.open > self.newly_shared
            && !breakage::is_on("silent-ones-keep-their-place")
            && let Some((_, leave)) = seats.waiting.pop_first()
        {
            leave.notify_one();
        }
    }
}

/// One open connection.
pub struct Seat {
    room: Arc<Room>,
    network: IpAddr,
    site: IpAddr,
    of_many: bool,
    leave: Arc<Notify>,
    turn: Mutex<Option<ClosingOrder>>,
}

impl Seat {
    /// Notes that a complete head came: the connection is no longer closed for others.
    pub fn works(&self) {
        let mut seats = self.room.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = self.turn.lock().unwrap_or_else(PoisonError::into_inner).take() {
            seats.waiting.remove(&turn);
        }
    }

    /// Notes that the request was answered, and that the connection waits for another head.
    pub fn waits(&self) {
        let mut seats = self.room.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = seats.wait(self.of_many, &self.leave);
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        self.room.make_room(&mut seats);
    }

    /// Ends when others need the room.
    pub async fn leaves(&self) {
        self.leave.notified().await;
    }

    /// False while a request is not answered yet.
    pub fn is_waiting(&self) -> bool {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = self.turn.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            seats.waiting.remove(&turn);
        }
        seats.open -= 1;
        let one_less = |all: &mut HashMap<IpAddr, usize>, key: IpAddr| {
            if let Some(count) = all.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    all.remove(&key);
                }
            }
        };
        one_less(&mut seats.of_address, self.network);
        one_less(&mut seats.of_site, self.site);
    }
}
