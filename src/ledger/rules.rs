//! What holds for every ledger: which message is the same again, and which may be changed.

use super::{Draft, Outcome};
use crate::chat::Seq;

/// The outcome on a line whose id is known: the same line again, or another under its id. What was
/// `changed` since cannot be compared and passes.
pub fn known_as(known: &Draft, changed: bool, seq: Seq, again: &Draft) -> Outcome {
    let said = known.body == again.body || changed || again.kind.is_edit();
    if known.kind == again.kind && said { Outcome::Known(seq) } else { Outcome::Conflict }
}

/// Whether `change` may change `target`: one's own line, still there, not too old. `is_own` is
/// whether the name that both have is still the same person's.
pub fn may_change(
    target: &Draft,
    (is_own, deleted): (bool, bool),
    change: &Draft,
    change_s_max: u64,
) -> Result<(), Outcome> {
    if deleted || target.kind.is_change() {
        return Err(Outcome::NoSuchMessage);
    }
    if target.from != change.from || !is_own {
        return Err(Outcome::NotOwn);
    }
    let age_ms = change.time_ms.saturating_sub(target.time_ms);
    if age_ms > change_s_max as i64 * 1000 {
        return Err(Outcome::TooLate);
    }
    Ok(())
}
