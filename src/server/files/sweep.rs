//! The sweep removes expired files, files without a row, and rows without a file.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Files;
use super::store::{Listed, Place, StoreError};
use crate::chat::BlobId;
use crate::ledger::{BlobRow, BlobState, BlobTotals, LedgerError, SplitLedger};

/// Interval of the comparison of rows and files.
const COMPARE_EVERY: Duration = Duration::from_secs(3_600);
/// A file without a row is removed after this time, and a row without its file is given up. An
/// operator who has restored an older ledger can restore the newer one until then, or mount the
/// disk of the files.
const ORPHAN_AGE: Duration = Duration::from_secs(86_400);
const ORPHAN_AGE_MS: i64 = ORPHAN_AGE.as_millis() as i64;
/// Parts of a comparison, by the first byte of a file: the list of one is in memory at a time.
const PARTS: u16 = 16;

/// Runs a job on the commit thread; `None` if the server stops first.
type Ask<'a, T> = &'a dyn Fn(Box<dyn FnOnce(&mut SplitLedger) -> T + Send>) -> Option<T>;

/// What the sweeps of one run of the server remember.
#[derive(Default)]
pub struct Sweep {
    compared: Option<Instant>,
    /// Rows of complete files that are missing, and since when.
    missing: HashMap<BlobId, Instant>,
}

/// The result of one part of the removal of expired files.
pub struct Due {
    /// Number of files that have expired in this part.
    expired: usize,
    doomed: Vec<BlobId>,
    totals: BlobTotals,
}

impl Sweep {
    /// Removes expired files. `now_ms` is the time of a trusted clock. Without it, no file is
    /// removed for its age.
    pub fn run(
        &mut self,
        files: &Arc<Files>,
        now_ms: Option<i64>,
        ask: Ask<'_, Result<Due, LedgerError>>,
        rows: Ask<'_, Result<Vec<BlobRow>, LedgerError>>,
    ) {
        let due = move |ledger: &mut SplitLedger| {
            let expired = now_ms.map_or(Ok(0), |now_ms| ledger.blobs().expire_blobs(now_ms))?;
            ledger.tell_doomed();
            let (doomed, totals) = (ledger.blobs().doomed_blobs()?, ledger.blobs().blob_totals()?);
            Ok(Due { expired, doomed, totals })
        };
        loop {
            match ask(Box::new(due)) {
                // Commits run between two parts.
                Some(Ok(Due { expired: 1.., .. })) => {}
                // Includes files whose removal failed, or was interrupted by the end of a run.
                Some(Ok(Due { doomed, totals, .. })) => {
                    files.set_totals(totals);
                    files.remove_all(doomed);
                    break;
                }
                Some(Err(error)) => {
                    log::error!("expired files cannot be removed yet: {error}");
                    break;
                }
                None => return,
            }
        }
        if self.compared.is_none_or(|compared| compared.elapsed() >= COMPARE_EVERY) {
            self.compared = Some(Instant::now());
            if let Err(error) = self.compare(files, now_ms, rows) {
                log::error!("files cannot be compared with the ledger: {error}");
            }
        }
    }

    /// Compares rows and files. A row is written before its file and removed after it. The files
    /// are listed before the rows are read, so a listed file without a row is an orphan. It is
    /// marked, and removed after `ORPHAN_AGE`. The mark survives a restart.
    fn compare(
        &mut self,
        files: &Arc<Files>,
        now_ms: Option<i64>,
        rows: Ask<'_, Result<Vec<BlobRow>, LedgerError>>,
    ) -> anyhow::Result<()> {
        let mut missing = HashMap::new();
        for part in 0..PARTS {
            let first = part * (256 / PARTS);
            let first = first as u8..=(first + 256 / PARTS - 1) as u8;
            let Some(found) = self.compare_part(files, first, now_ms, rows)? else { return Ok(()) };
            missing.extend(found);
        }
        if missing.keys().any(|stored| !self.missing.contains_key(stored)) {
            log::error!(
                "files of the ledger are missing in data/files: {}. Those that are not there again within a day \
                 are given up. The log has their names at the level debug",
                missing.len()
            );
        }
        self.missing = missing;
        Ok(())
    }

    /// Compares rows and files whose first byte is in this range. Returns the missing files; `None`
    /// if the server stops.
    fn compare_part(
        &self,
        files: &Arc<Files>,
        first: RangeInclusive<u8>,
        now_ms: Option<i64>,
        rows: Ask<'_, Result<Vec<BlobRow>, LedgerError>>,
    ) -> anyhow::Result<Option<HashMap<BlobId, Instant>>> {
        let store = files.ports().store();
        let listed = store.list(first.clone())?.into_iter();
        let mut unknown: HashMap<_, _> = listed.map(|one| ((one.blob, one.place), one)).collect();
        let before = first.start().checked_sub(1).map(|byte| {
            let mut last = [u8::MAX; 16];
            last[0] = byte;
            BlobId(last)
        });
        let (mut after, mut missing) = (before, HashMap::new());
        loop {
            let page = rows(Box::new(move |ledger| ledger.blobs().blobs_after(after)));
            let Some(mut page) = page.transpose()? else { return Ok(None) };
            page.retain(|row| first.contains(&row.stored.0[0]));
            let Some(last) = page.last() else { break };
            after = Some(last.stored);
            for row in page.iter().filter(|row| !matches!(row.state, BlobState::Gone(_))) {
                let kept = unknown.remove(&(row.stored, Place::Kept));
                // An unfinished file beside a whole one is an orphan.
                let coming = (row.state != BlobState::Kept)
                    .then(|| unknown.remove(&(row.stored, Place::Coming)))
                    .flatten();
                for one in kept.iter().chain(&coming).filter(|one| one.unknown_ms.is_some()) {
                    store.mark(one.blob, one.place, None)?;
                }
                if row.state == BlobState::Kept && kept.is_none() {
                    missing.extend(self.is_missing(files, row)?);
                }
            }
        }
        if let Some(now_ms) = now_ms {
            remove_unknown(files, unknown.values(), now_ms)?;
        }
        Ok(Some(missing))
    }

    /// Handles a row whose file is missing. Marks the file as lost after `ORPHAN_AGE`. Returns when
    /// the file was first missing; `None` if it was completed after the listing.
    fn is_missing(
        &self,
        files: &Arc<Files>,
        row: &BlobRow,
    ) -> anyhow::Result<Option<(BlobId, Instant)>> {
        let stored = row.stored;
        if files.ports().store().look_up(stored)?.is_some_and(|found| found.place == Place::Kept) {
            return Ok(None);
        }
        let conversation = row.conversation.in_log();
        let since = self.missing.get(&stored).copied().unwrap_or_else(Instant::now);
        if since.elapsed() < ORPHAN_AGE {
            log::debug!("the file {stored} of {conversation} is missing in data/files");
            return Ok(Some((stored, since)));
        }
        log::error!("the file {stored} of {conversation} is lost");
        files.ports().ledger(Box::new(move |ledger| {
            if let Err(error) = ledger.blobs().lose_blob(stored) {
                log::error!("a lost file stays in the ledger: {error}");
            }
            ledger.tell_doomed();
        }));
        Ok(Some((stored, since)))
    }
}

/// Marks files without a row, and removes those that were marked `ORPHAN_AGE` ago.
fn remove_unknown<'a>(
    files: &Arc<Files>,
    unknown: impl Iterator<Item = &'a Listed>,
    now_ms: i64,
) -> Result<(), StoreError> {
    for one in unknown {
        match one.unknown_ms.filter(|since_ms| *since_ms <= now_ms) {
            None => files.ports().store().mark(one.blob, one.place, Some(now_ms))?,
            Some(since_ms) if now_ms - since_ms < ORPHAN_AGE_MS => {}
            Some(_) => files.uploads().remove_unknown(
                one.blob,
                match one.place {
                    Place::Coming => &[Place::Coming],
                    Place::Kept => &[Place::Kept],
                },
            ),
        }
    }
    Ok(())
}
