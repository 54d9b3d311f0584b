//! Waits for several sockets at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Bytes to read, or the end.
    Input,
    /// Room for bytes.
    Output,
}

/// Waits until one of the sockets is ready, at most this long. Returns for each socket whether it
/// is: a broken connection is ready too.
///
/// # Errors
/// A signal interrupted the wait, or the limit of descriptors was lowered.
pub fn wait<'a>(
    fds: impl Iterator<Item = (BorrowedFd<'a>, Wanted)>,
    patience: Duration,
) -> io::Result<Vec<bool>> {
    let flags = |wanted| match wanted {
        Wanted::Input => PollFlags::IN,
        Wanted::Output => PollFlags::OUT,
    };
    let fds = fds.map(|(fd, wanted)| PollFd::from_borrowed_fd(fd, flags(wanted)));
    let mut fds: Vec<PollFd> = fds.collect();
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    poll(&mut fds, Some(&patience))?;
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}
