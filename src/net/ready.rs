//! Waits for several sockets at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until one of the sockets is readable, at most this long. Returns for each socket whether
/// it is readable.
///
/// # Errors
/// A signal interrupted the wait, or the limit of descriptors was lowered.
pub fn inputs<'a>(
    fds: impl Iterator<Item = BorrowedFd<'a>>,
    patience: Duration,
) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    poll(&mut fds, Some(&patience))?;
    Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect())
}
