//! Files: which conversations keep them, and who may send and fetch them.

use super::{Directory, Query, Registry, Rules};
use crate::chat::{Command, Conversation, Refusal, Retention, SessionId, Target};

impl Registry {
    /// Allows a request for files to members of the conversation.
    pub(super) fn file_query<'a>(
        &self,
        session: SessionId,
        command: &Command,
        directory: Directory,
    ) -> Result<Query<'a>, Refusal> {
        match command {
            Command::Put { to, blob, bytes } => {
                let conversation = self.may_read(session, to, directory)?;
                self.keeps_files(&conversation)?;
                match to {
                    Target::User(name) if directory(name).is_none() => {
                        Err(Refusal::NotRegistered(name.clone()))
                    }
                    _ => Ok(Query::Put { conversation, blob: *blob, bytes: *bytes }),
                }
            }
            Command::Get { to, blob, from } => {
                let conversation = self.may_read(session, to, directory)?;
                self.keeps_files(&conversation)?;
                Ok(Query::Get { conversation, blob: *blob, from: *from })
            }
            Command::Drop { blob } => Ok(Query::Drop(*blob)),
            Command::Usage => Ok(Query::Usage),
            _ => Err(Refusal::Unknown),
        }
    }
}

/// Refuses files where the server has no place for them.
pub(super) fn keeps_files(rules: &Rules, conversation: &Conversation) -> Result<(), Refusal> {
    if rules.limits.file_bytes_max == 0 {
        Err(Refusal::NoFiles)
    } else if (rules.retention)(conversation) == Retention::Off {
        Err(Refusal::NoFilesHere)
    } else {
        Ok(())
    }
}
