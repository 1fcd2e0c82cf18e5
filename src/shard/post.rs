//! Connections on their way from the shard that accepted them to one with less to do.

use std::os::fd::OwnedFd;

use crossbeam_queue::ArrayQueue;
use uring::Waker;

/// A connection and the id of the listener that it came to.
pub type Letter = (OwnedFd, u32);

/// A mailbox for each shard.
#[derive(Debug)]
pub struct Post {
    boxes: Vec<Mailbox>,
}

#[derive(Debug)]
struct Mailbox {
    connections: ArrayQueue<Letter>,
    /// Of the shard whose mailbox it is.
    waker: Waker,
}

impl Post {
    /// Empty mailboxes for the shards that these wake, in their order.
    #[must_use]
    pub fn new(wakers: impl IntoIterator<Item = Waker>) -> Self {
        let mailbox = |waker| Mailbox { connections: ArrayQueue::new(MAILBOX_CONNECTIONS), waker };
        Self { boxes: wakers.into_iter().map(mailbox).collect() }
    }

    /// Hands a connection to another shard, which is woken.
    ///
    /// # Errors
    /// The connection, when the mailbox is full.
    pub fn send(&self, shard: usize, connection: Letter) -> Result<(), Letter> {
        let mailbox = &self.boxes[shard];
        mailbox.connections.push(connection)?;
        mailbox.waker.wake();
        Ok(())
    }

    /// The next connection for `shard`.
    #[must_use]
    pub fn receive(&self, shard: usize) -> Option<Letter> {
        self.boxes[shard].connections.pop()
    }
}

/// More than a shard that is not stuck lets come together.
const MAILBOX_CONNECTIONS: usize = 64;
