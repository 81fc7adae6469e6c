//! Lock-free rings with one producer and one consumer, between control and the workers and among workers.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

/// The producing end. It is not `Clone`: there is one.
#[derive(Debug)]
pub struct Sender<T>(Arc<ArrayQueue<T>>);

/// The consuming end. It is not `Clone`: there is one.
#[derive(Debug)]
pub struct Receiver<T>(Arc<ArrayQueue<T>>);

/// A ring for `capacity` messages.
pub fn ring<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender(queue.clone()), Receiver(queue))
}

impl<T> Sender<T> {
    /// Puts a message in, or gives it back if the ring is full.
    pub fn push(&mut self, message: T) -> Result<(), T> {
        self.0.push(message)
    }

    /// True if the next [`Sender::push`] succeeds, since nobody else produces.
    pub fn has_room(&self) -> bool {
        !self.0.is_full()
    }

    /// Messages in the ring.
    pub fn depth(&self) -> usize {
        self.0.len()
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Messages in the ring.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
