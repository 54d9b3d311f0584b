//! Texts of transfers, for people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::chat::{FileBytes, Target};
use crate::client::transfer::{Direction, Progress, TransferId, TransferState};

/// A line is printed after this time, even if no quarter of the file was completed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Which lines of transfers were printed.
#[derive(Default)]
pub struct TransferLines(BTreeMap<TransferId, Printed>);

/// The last line of a transfer.
struct Printed {
    state: std::mem::Discriminant<TransferState>,
    quarter: u64,
    at: Instant,
}

impl TransferLines {
    /// Returns the line that is due.
    pub fn line(&mut self, progress: &Progress, now: Instant) -> Option<String> {
        if progress.state.is_end() {
            self.0.remove(&progress.id);
            return Some(text(progress));
        }
        let state = std::mem::discriminant(&progress.state);
        let quarter = progress.percent() / 25;
        let is_due = match (self.0.get(&progress.id), &progress.state) {
            (_, TransferState::Storing) => false,
            // A short file is read at once.
            (None, TransferState::Reading | TransferState::Waiting) => false,
            (None, _) => true,
            (Some(before), _) if before.state != state => progress.state != TransferState::Waiting,
            (Some(before), _) => quarter > before.quarter || now - before.at >= LINE_EVERY,
        };
        if is_due || !self.0.contains_key(&progress.id) {
            self.0.insert(progress.id, Printed { state, quarter, at: now });
        }
        is_due.then(|| text(progress))
    }
}

/// A transfer in one line: `f1 holiday.jpg (2.10 MB) to #tea: 58 %, 118.00 kB/s, 0:08 left`.
pub fn text(progress: &Progress) -> String {
    let from_to = match progress.direction {
        Direction::Up => "to",
        Direction::Down => "from",
    };
    let (id, name, to) = (progress.id, name(progress), &progress.to);
    let size = match &progress.state {
        // Its size is not known yet, or never was.
        TransferState::Reading | TransferState::Waiting | TransferState::Failed(_)
            if progress.of == 0 =>
        {
            String::new()
        }
        _ => format!(" ({})", FileBytes(progress.of)),
    };
    format!("{id} {name}{size} {from_to} {to}: {}", state(progress))
}

/// Returns the name of a file that is sent, or the message number of a file that is fetched: the
/// name of the latter is untrusted text of its sender.
pub fn name(progress: &Progress) -> String {
    match progress.seq.filter(|_| progress.direction == Direction::Down) {
        Some(seq) => format!("file {seq}"),
        None => progress.name.clone(),
    }
}

/// All transfers.
pub fn list(all: &[Progress]) -> String {
    match all {
        [] => "no file is on its way".to_owned(),
        all => all.iter().map(text).collect::<Vec<_>>().join("\n"),
    }
}

/// The head of a list of files.
pub fn files_of(to: &Target, count: usize) -> String {
    match count {
        0 => format!("{to} has no files"),
        1 => format!("{to} has one file: /get and its number in {to} fetches it"),
        count => format!("the last {count} files of {to}: /get N in {to} fetches one"),
    }
}

/// Returns the state of a transfer as text.
pub fn state(progress: &Progress) -> String {
    let percent = progress.percent();
    match &progress.state {
        TransferState::Reading => format!("reading, {percent} %"),
        TransferState::Waiting => "waiting".to_owned(),
        TransferState::Going => going(progress),
        TransferState::Storing => "storing".to_owned(),
        TransferState::Sent => "sent".to_owned(),
        TransferState::Saved(path) if path.as_os_str().is_empty() => "fetched".to_owned(),
        TransferState::Saved(path) => format!("saved as {}", path.display()),
        TransferState::Failed(failure) => failure.hint.clone(),
        TransferState::Cancelled => "cancelled".to_owned(),
    }
}

fn going(progress: &Progress) -> String {
    let percent = progress.percent();
    match progress.left_s() {
        Some(left) => {
            let (minutes, seconds) = (left / 60, left % 60);
            format!("{percent} %, {}/s, {minutes}:{seconds:02} left", FileBytes(progress.rate))
        }
        None => format!("{percent} %"),
    }
}

/// A bar of `cells` cells: `[######....]`.
pub fn bar(progress: &Progress, cells: usize) -> String {
    let full = cells * progress.percent() as usize / 100;
    format!("[{}{}]", "#".repeat(full), ".".repeat(cells - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(state: TransferState, bytes: u64) -> Progress {
        Progress {
            id: TransferId(1),
            direction: Direction::Up,
            state,
            name: "holiday.jpg".into(),
            to: "#tea".parse().unwrap(),
            seq: None,
            bytes,
            of: 2_100_000,
            rate: 118_000,
            reference: None,
        }
    }

    #[test]
    fn a_transfer_is_shown_in_a_line() {
        let going = progress(TransferState::Going, 1_218_000);
        let line = "f1 holiday.jpg (2.10 MB) to #tea: 58 %, 118.00 kB/s, 0:08 left";
        assert_eq!(text(&going), line);
        assert_eq!(bar(&going, 10), "[#####.....]");
        assert_eq!(
            text(&progress(TransferState::Sent, 0)),
            "f1 holiday.jpg (2.10 MB) to #tea: sent"
        );
        let unknown = Progress { of: 0, ..progress(TransferState::Reading, 0) };
        assert_eq!(text(&unknown), "f1 holiday.jpg to #tea: reading, 0 %");
        assert_eq!(bar(&unknown, 10), "[..........]");
        let empty = Progress { of: 0, ..progress(TransferState::Sent, 0) };
        assert_eq!(text(&empty), "f1 holiday.jpg (0 bytes) to #tea: sent");
    }

    #[test]
    fn a_line_comes_at_each_quarter_or_after_ten_seconds() {
        let (mut lines, began) = (TransferLines::default(), Instant::now());
        let mut is_due = |state: TransferState, bytes: u64, s: u64| {
            lines.line(&progress(state, bytes), began + Duration::from_secs(s)).is_some()
        };
        assert!(!is_due(TransferState::Reading, 0, 0) && !is_due(TransferState::Waiting, 0, 0));
        assert!(is_due(TransferState::Going, 0, 1));
        assert!(!is_due(TransferState::Going, 500_000, 2));
        assert!(is_due(TransferState::Going, 525_000, 3));
        assert!(!is_due(TransferState::Going, 526_000, 12));
        assert!(is_due(TransferState::Going, 526_000, 13));
        assert!(!is_due(TransferState::Storing, 2_100_000, 14));
        assert!(is_due(TransferState::Sent, 2_100_000, 15));
    }
}
