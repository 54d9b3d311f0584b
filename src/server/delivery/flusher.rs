//! The one thread behind the senders: it watches the sockets that are full and takes over
//! conversations whose senders have delivered for others long enough.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};

use rustix::event::{PollFd, PollFlags, poll};

use super::send_queue::{ConversationId, SendQueue};

use crate::sync::{Mutex, Rank};

/// The senders' side of the flusher.
pub struct Flusher {
    waiting: Mutex<Waiting>,
    bell: UnixStream,
}

#[derive(Default)]
struct Waiting {
    blocked: Vec<Arc<SendQueue>>,
    conversations: Vec<ConversationId>,
    rung: bool,
}

impl Flusher {
    /// The flusher, and the end of its bell that the thread listens to.
    pub fn new() -> std::io::Result<(Flusher, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        Ok((Flusher { waiting: Mutex::new(Rank::Flusher, Waiting::default()), bell }, ear))
    }

    /// Watches a full socket until it takes what waits in its queue.
    pub fn watch(&self, queue: Arc<SendQueue>) {
        self.add(|waiting| waiting.blocked.push(queue));
    }

    /// Goes on delivering a conversation.
    pub fn take_over(&self, conversation: ConversationId) {
        self.add(|waiting| waiting.conversations.push(conversation));
    }

    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        add(&mut waiting);
        if !waiting.rung {
            waiting.rung = true;
            // One byte is enough, and a full bell rings already.
            let _ = (&self.bell).write(&[1]);
        }
    }

    fn take(&self) -> (Vec<Arc<SendQueue>>, Vec<ConversationId>) {
        let mut waiting = self.waiting.lock();
        waiting.rung = false;
        (std::mem::take(&mut waiting.blocked), std::mem::take(&mut waiting.conversations))
    }
}

/// What the thread asks of the hub.
pub trait Deliver: Send + Sync {
    fn flusher(&self) -> &Flusher;

    /// Lets a session's cursors catch up with the tails of all its conversations.
    fn catch_up(&self, queue: &Arc<SendQueue>);

    /// Goes on delivering a conversation that a sender has delivered for long enough.
    fn go_on(&self, conversation: ConversationId);
}

/// Runs until the hub is gone.
pub fn run(hub: Weak<impl Deliver>, mut ear: UnixStream) {
    let mut blocked: Vec<Arc<SendQueue>> = Vec::new();
    loop {
        let ready = wait(&ear, &blocked);
        let Some(hub) = hub.upgrade() else { return };
        // Whatever is in the bell, the bell's flag is reset before what waits is taken.
        while matches!(ear.read(&mut [0; 16]), Ok(1..)) {}
        blocked = turn(&*hub, blocked, &ready);
    }
}

/// Lets those that are ready go on, and delivers what was handed over; gives who is full still, or
/// as of now.
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
        }
    }
    still.extend(newly);
    conversations.into_iter().for_each(|conversation| hub.go_on(conversation));
    still
}

/// Waits for the bell or a writable socket; tells which sockets are.
fn wait(ear: &UnixStream, blocked: &[Arc<SendQueue>]) -> Vec<bool> {
    let mut fds = Vec::with_capacity(blocked.len() + 1);
    fds.push(PollFd::from_borrowed_fd(ear.as_fd(), PollFlags::IN));
    for queue in blocked {
        let writable = queue.sink().fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
        // What nobody can poll is never ready.
        let never = || PollFd::from_borrowed_fd(ear.as_fd(), PollFlags::empty());
        fds.push(writable.unwrap_or_else(never));
    }
    match poll(&mut fds, None) {
        Ok(_) => fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; blocked.len()],
    }
}
