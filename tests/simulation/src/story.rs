//! The course of a world so far, and its text.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use stagedoor_model::Timestamp;

use crate::{clock::VirtualClock, sand::Row, world::World};

pub struct Story {
    clock: VirtualClock,
    pub world: World,
    lines: Vec<String>,
    receipts: Arc<Receipts>,
    /// Phones that managers added, by contact.
    pub added_phones: Vec<(u64, String)>,
    /// Phones that managers removed, by contact.
    pub removed_phones: Vec<(u64, String)>,
    /// Rows that managers deleted and may restore: the kind and the id.
    pub bin: Vec<(Row, u64)>,
    /// Rows that managers restored.
    pub restored: Vec<(Row, u64)>,
    /// True if webhooks of the CRM were lost.
    pub hooks_lost: bool,
    /// True if robots move deals.
    pub robots: bool,
    /// The last move of each deal by a manager. Events before that instant were in the CRM by then.
    pub moves: BTreeMap<u64, (Timestamp, String)>,
    /// The time of the last quiet point.
    pub quiet_at: Timestamp,
    /// Humans whose contact a manager deleted. Whether they have a contact is not checked.
    pub deleted_humans: BTreeSet<usize>,
    /// Deals that a manager deleted, by human and show.
    pub deleted_deals: BTreeSet<(usize, &'static str)>,
}

impl Story {
    pub fn new(clock: VirtualClock) -> Self {
        Self {
            clock,
            world: World::default(),
            lines: Vec::new(),
            receipts: Arc::default(),
            added_phones: Vec::new(),
            removed_phones: Vec::new(),
            bin: Vec::new(),
            restored: Vec::new(),
            hooks_lost: false,
            robots: false,
            moves: BTreeMap::new(),
            quiet_at: Timestamp::UNIX_EPOCH,
            deleted_humans: BTreeSet::new(),
            deleted_deals: BTreeSet::new(),
        }
    }

    /// The same story without managers, who work in the first CRM alone.
    pub fn in_the_second_crm(&self) -> Self {
        Self { world: self.world.clone(), receipts: self.receipts(), quiet_at: self.quiet_at, ..Self::new(self.clock) }
    }

    pub fn tell(&mut self, line: impl Into<String>) {
        self.lines.push(format!("{} {}", self.clock.told(), line.into()));
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Words of deliveries that the hub acknowledged. Its journal must hold them.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.receipts.all().into_keys().collect()
    }

    /// The time at which the hub first acknowledged a delivery, by its word.
    pub fn acknowledged_at(&self, word: &str) -> Option<Timestamp> {
        self.receipts.all().get(word).copied()
    }

    /// The list in which deliveries on their way note their acknowledgement.
    pub fn receipts(&self) -> Arc<Receipts> {
        Arc::clone(&self.receipts)
    }
}

/// Acknowledged deliveries: their words, and the time of the first acknowledgement.
#[derive(Debug, Default)]
pub struct Receipts(Mutex<BTreeMap<String, Timestamp>>);

impl Receipts {
    pub fn note(&self, word: String, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_insert(at);
    }

    fn all(&self) -> BTreeMap<String, Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
