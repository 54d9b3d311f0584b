//! What a query may look at.

use super::{Directory, Registry};
use crate::chat::{Conversation, ReadMark, Refusal, Seq, SessionId, Target};

impl Registry {
    /// Returns the conversations that a search of this session looks at.
    pub(super) fn searched(
        &self,
        from: SessionId,
        to: Option<&Target>,
        directory: Directory,
    ) -> Result<Vec<Conversation>, Refusal> {
        match to {
            Some(to) => Ok(vec![self.may_read(from, to, directory)?]),
            None => Ok(self.readable(from)),
        }
    }

    /// Returns the positions in conversations that a session may read.
    pub(super) fn readable_marks(
        &self,
        from: SessionId,
        marks: &[ReadMark],
        directory: Directory,
    ) -> impl Iterator<Item = (Conversation, Seq)> {
        let readable = move |ReadMark { to, seq }: &ReadMark| {
            Some((self.may_read(from, to, directory).ok()?, *seq))
        };
        marks.iter().filter_map(readable)
    }
}
