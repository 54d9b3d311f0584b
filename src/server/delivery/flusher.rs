//! The flusher: one thread that watches full sockets, and takes conversations over whose senders
//! have delivered for others long enough.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};

use rustix::event::{PollFd, PollFlags, poll};

use super::bell::Bell;
use super::send_queue::{ConversationId, SendQueue};

use crate::sync::{Mutex, Rank};

/// The senders' interface to the flusher.
pub struct Flusher {
    waiting: Mutex<Waiting>,
    bell: UnixStream,
    /// Rings when a session's queue has become empty.
    downloads: Bell,
}

#[derive(Default)]
struct Waiting {
    blocked: Vec<Arc<SendQueue>>,
    conversations: Vec<ConversationId>,
    rung: bool,
}

impl Flusher {
    /// Creates the flusher, and the end of its wakeup pipe that the thread reads.
    pub fn new() -> std::io::Result<(Flusher, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let waiting = Mutex::new(Rank::Flusher, Waiting::default());
        Ok((Flusher { waiting, bell, downloads: Bell::default() }, ear))
    }

    /// Returns the bell of the thread for downloads.
    pub fn bell(&self) -> &Bell {
        &self.downloads
    }

    /// Watches a full socket until it accepts what its queue holds.
    pub fn watch(&self, queue: Arc<SendQueue>) {
        self.add(|waiting| waiting.blocked.push(queue));
    }

    /// Continues the delivery of a conversation.
    pub fn take_over(&self, conversation: ConversationId) {
        self.add(|waiting| waiting.conversations.push(conversation));
    }

    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        add(&mut waiting);
        if !waiting.rung {
            waiting.rung = true;
            // One byte wakes the thread. An error means that the pipe is full, which wakes it too.
            let _ = (&self.bell).write(&[1]);
        }
    }

    fn take(&self) -> (Vec<Arc<SendQueue>>, Vec<ConversationId>) {
        let mut waiting = self.waiting.lock();
        waiting.rung = false;
        (std::mem::take(&mut waiting.blocked), std::mem::take(&mut waiting.conversations))
    }
}

/// The hub, as seen by the flusher thread.
pub trait Deliver: Send + Sync {
    fn flusher(&self) -> &Flusher;

    /// Moves a session's cursors towards the ends of their tails.
    fn catch_up(&self, queue: &Arc<SendQueue>);

    /// Continues the delivery of a conversation.
    fn go_on(&self, conversation: ConversationId);
}

/// Runs until the hub is dropped.
pub fn run(hub: Weak<impl Deliver>, mut ear: UnixStream) {
    let mut blocked: Vec<Arc<SendQueue>> = Vec::new();
    loop {
        let ready = wait(&ear, &blocked);
        let Some(hub) = hub.upgrade() else { return };
        // The pipe is drained after its flag is reset and before the work is taken.
        while matches!(ear.read(&mut [0; 16]), Ok(1..)) {}
        blocked = turn(&*hub, blocked, &ready);
    }
}

/// Resumes the queues that are ready and delivers conversations that were handed over. Returns the
/// queues that are still or newly blocked.
pub fn turn(
    hub: &dyn Deliver,
    blocked: Vec<Arc<SendQueue>>,
    ready: &[bool],
) -> Vec<Arc<SendQueue>> {
    let (newly, conversations) = hub.flusher().take();
    let mut still = Vec::with_capacity(blocked.len());
    for (queue, ready) in blocked.into_iter().zip(ready) {
        if !ready || !queue.resume() {
            still.push(queue);
        } else {
            hub.catch_up(&queue);
            hub.flusher().bell().ring();
        }
    }
    still.extend(newly);
    conversations.into_iter().for_each(|conversation| hub.go_on(conversation));
    still
}

/// Waits for the wakeup pipe or a writable socket. Returns which sockets are writable.
fn wait(ear: &UnixStream, blocked: &[Arc<SendQueue>]) -> Vec<bool> {
    let mut fds = Vec::with_capacity(blocked.len() + 1);
    fds.push(PollFd::from_borrowed_fd(ear.as_fd(), PollFlags::IN));
    for queue in blocked {
        let writable = queue.sink().fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
        // A sink without a descriptor is never ready.
        let never = || PollFd::from_borrowed_fd(ear.as_fd(), PollFlags::empty());
        fds.push(writable.unwrap_or_else(never));
    }
    match poll(&mut fds, None) {
        Ok(_) => fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; blocked.len()],
    }
}
