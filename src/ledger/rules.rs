//! Rules of every ledger: when a message is a repetition, and which messages may be changed.

use super::{Outcome, SentMessage};
use crate::chat::Seq;

/// Returns the outcome for a message whose id is in use: the same message, or a conflict. A message
/// that was `changed` since cannot be compared and counts as the same.
pub fn known_as(known: &SentMessage, changed: bool, seq: Seq, again: &SentMessage) -> Outcome {
    let said = known.body == again.body || changed || again.kind.is_edit();
    if known.kind == again.kind && said { Outcome::Known(seq) } else { Outcome::Conflict }
}

/// Returns whether `change` may change `target`: a message of the same user that exists and is not
/// too old. `is_own` is whether the name still belongs to the same person.
pub fn may_change(
    target: &SentMessage,
    (is_own, deleted): (bool, bool),
    change: &SentMessage,
    change_s_max: u64,
) -> Result<(), Outcome> {
    if deleted || target.kind.is_change() {
        return Err(Outcome::NoSuchMessage);
    }
    if target.from != change.from || !is_own {
        return Err(Outcome::NotOwn);
    }
    if target.kind.blob().is_some() && change.kind.is_edit() {
        return Err(Outcome::FileNotEdited);
    }
    let age_ms = change.time_ms.saturating_sub(target.time_ms);
    if age_ms > change_s_max as i64 * 1000 {
        return Err(Outcome::TooLate);
    }
    Ok(())
}
