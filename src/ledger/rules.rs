//! What holds for every ledger: which message is the same again, and which may be changed.

use super::{Draft, Verdict};
use crate::chat::Seq;

/// The verdict on a line whose id is known: the same line again, or another under its id. What was
/// `changed` since cannot be compared and passes.
pub fn known_as(known: &Draft, changed: bool, seq: Seq, again: &Draft) -> Verdict {
    let said = known.body == again.body || changed || again.kind.is_edit();
    if known.kind == again.kind && said { Verdict::Known(seq) } else { Verdict::Conflict }
}

/// Whether `change` may change `target`: one's own line, still there, not too old.
pub fn may_change(
    target: &Draft,
    deleted: bool,
    change: &Draft,
    change_s_max: u64,
) -> Result<(), Verdict> {
    if deleted || target.kind.is_change() {
        return Err(Verdict::NoSuchLine);
    }
    if target.from != change.from {
        return Err(Verdict::NotOwn);
    }
    let age_ms = change.time_ms.saturating_sub(target.time_ms);
    if age_ms > change_s_max as i64 * 1000 {
        return Err(Verdict::TooLate);
    }
    Ok(())
}
