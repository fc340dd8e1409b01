//! The memory twins keep the promises of their ports.
#![cfg(feature = "testing")]

use stagedoor_ports::{
    memory::{MemoryQueue, MemoryStore},
    testing::{queue_suite, store_suite, unused_suite},
};

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    store_suite(async || MemoryStore::default()).await;
}

#[tokio::test]
async fn the_memory_queue_keeps_every_promise() {
    queue_suite(async || MemoryQueue::default()).await;
    unused_suite(&MemoryQueue::default()).await;
}
