//! Open requests to enter and to leave channels. An answer counts only with the reference and the
//! channel of such a request.

use std::collections::VecDeque;

use crate::chat::ChannelName;

/// Bound on open requests; beyond it the oldest is forgotten.
const OPEN_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Enter,
    Leave,
}

/// An open request.
#[derive(Debug, PartialEq)]
pub struct OpenRequest {
    pub wish: Wish,
    pub channel: ChannelName,
    /// The channel was not among those that this client enters at each connection.
    pub fresh: bool,
    /// The reference of a program.
    pub theirs: Option<String>,
    reference: String,
}

#[derive(Default)]
pub struct Requests {
    number: u64,
    open: VecDeque<OpenRequest>,
}

impl Requests {
    /// Adds a request. Returns the reference to send it with.
    pub fn add(
        &mut self,
        wish: Wish,
        channel: &ChannelName,
        fresh: bool,
        theirs: Option<String>,
    ) -> String {
        self.number += 1;
        let reference = theirs.clone().unwrap_or_else(|| format!("pychat-{}", self.number));
        let (channel, sent) = (channel.clone(), reference.clone());
        self.open.push_back(OpenRequest { wish, channel, fresh, theirs, reference });
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
        }
        sent
    }

    /// Removes and returns the request with this answer.
    pub fn answered(
        &mut self,
        wish: Wish,
        channel: &ChannelName,
        reference: Option<&str>,
    ) -> Option<OpenRequest> {
        let is = |one: &OpenRequest| {
            one.wish == wish && one.channel == *channel && Some(one.reference.as_str()) == reference
        };
        let at = self.open.iter().position(is)?;
        let request = self.open.remove(at);
        // A server answers in order: what was asked of this channel before means nothing any more.
        let mut before = (0..at).map(|_| true).chain(std::iter::repeat(false));
        self.open.retain(|one| !(before.next() == Some(true) && one.channel == *channel));
        request
    }

    /// Removes and returns the request that was refused under this reference.
    pub fn refused(&mut self, reference: Option<&str>) -> Option<OpenRequest> {
        let at = self.open.iter().position(|one| Some(one.reference.as_str()) == reference)?;
        self.open.remove(at)
    }

    /// Removes and returns all requests when the connection is lost.
    pub fn lost(&mut self) -> impl Iterator<Item = OpenRequest> {
        std::mem::take(&mut self.open).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_the_reference_and_the_channel_of_a_request() {
        let mut requests = Requests::default();
        let [tea, work]: [ChannelName; 2] = ["#tea", "#work"].map(|name| name.parse().unwrap());
        let one = requests.add(Wish::Enter, &tea, true, None);
        let two = requests.add(Wish::Leave, &tea, false, Some("q1".into()));
        assert_eq!(two, "q1");
        assert_eq!(requests.answered(Wish::Enter, &tea, None), None);
        assert_eq!(requests.answered(Wish::Enter, &tea, Some("q1")), None);
        assert_eq!(requests.answered(Wish::Enter, &work, Some(&one)), None);
        assert_eq!(requests.answered(Wish::Leave, &tea, Some(&one)), None);
        assert!(requests.answered(Wish::Enter, &tea, Some(&one)).is_some_and(|it| it.fresh));
        assert_eq!(requests.answered(Wish::Enter, &tea, Some(&one)), None, "once");
        assert_eq!(requests.refused(Some("q2")), None);
        assert_eq!(requests.refused(Some("q1")).unwrap().theirs.as_deref(), Some("q1"));
        assert_eq!(requests.lost().count(), 0);
    }
}
