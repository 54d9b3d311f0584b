//! A conversation on the screen: messages, people, unread count, and scroll position. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::input::Draft;
pub use super::line::{At, Change, Form, Line, Older, What, day};
use crate::chat::{Kind, Message, MsgId, Retention, Seq, Target, UserName};
use crate::client::model::Origin;
use crate::client::transfer::TransferId;

/// Loaded messages of a conversation; older ones are loaded again from the server.
pub const LINES_MAX: usize = 100_000;
/// Bound on their text, in bytes.
const BYTES_MAX: usize = 32 << 20;

/// A user in a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Presence {
    /// Otherwise the user was here.
    pub here: bool,
    /// Time of their join, or of their last message.
    pub active_ms: i64,
}

/// Loaded messages of a room with unread ones, among which mentions are looked for.
const MENTIONS_MESSAGES_MAX: usize = 5_000;
/// Silence after which a part is not shown, in milliseconds.
const SILENCE_MS: i64 = 5 * 60_000;

pub struct Window {
    pub target: Target,
    pub lines: VecDeque<Line>,
    /// Number of the first line. Numbers are stable while lines are added and removed at both ends.
    first: i64,
    bytes: usize,
    pub unread: usize,
    pub mentions: usize,
    /// Messages after this one are unread.
    pub divider: Option<Seq>,
    /// Count of unread messages of other users.
    pub new: usize,
    /// The user goes to the first unread message, and older ones are loaded up to it.
    pub seeks: bool,
    /// The first and the last message that are missing between loaded ones.
    pub hole: Option<(Seq, Seq)>,
    /// The open request asks for messages before this one.
    pub asked: Option<Seq>,
    pub at: At,
    pub older: Older,
    pub topic: Option<String>,
    pub people: BTreeMap<UserName, Presence>,
    /// Width of the widest name of `people`, in cells.
    pub widest: u16,
    /// Members that the server has not named, because its lists are bounded.
    pub omitted: usize,
    pub retention: Retention,
    /// The user has read up to here, on any device.
    pub read: Seq,
    /// The newest message.
    pub last: Seq,
    /// The server lets the user read and write here now.
    pub joined: bool,
    /// The user has been here, so later messages are unread even if there were none.
    pub visited: bool,
    /// Time of the last bell.
    pub rang_ms: i64,
    /// The user is not in the channel without having left it; text typed here is not sent.
    pub gone: bool,
    /// Half-typed text while another conversation is on the screen.
    pub draft: Draft,
    /// Lines were dropped to make room for other conversations. They are loaded again only where
    /// the user looks for them.
    made_room: bool,
}

/// Width of a name in cells.
pub fn name_cells(name: &UserName) -> u16 {
    ratatui::text::Span::raw(name.as_str()).width() as u16
}

impl Window {
    pub fn new(target: Target) -> Window {
        let joined = matches!(target, Target::User(_));
        Window {
            target,
            lines: VecDeque::new(),
            first: 0,
            bytes: 0,
            unread: 0,
            mentions: 0,
            divider: None,
            new: 0,
            seeks: false,
            hole: None,
            asked: None,
            at: At::End,
            older: Older::Perhaps,
            topic: None,
            people: BTreeMap::new(),
            widest: 0,
            omitted: 0,
            retention: Retention::Forever,
            read: Seq(0),
            last: Seq(0),
            joined,
            visited: false,
            rang_ms: 0,
            gone: false,
            draft: Draft::default(),
            made_room: false,
        }
    }

    /// The numbers of the lines.
    pub fn numbers(&self) -> std::ops::Range<i64> {
        self.first..self.first + self.lines.len() as i64
    }

    pub fn line(&self, number: i64) -> Option<&Line> {
        self.lines.get(usize::try_from(number - self.first).ok()?)
    }

    /// The number of the message with this seq, unless it is deleted or not loaded.
    pub fn message(&self, seq: Seq) -> Option<i64> {
        let is = |line: &Line| line.seq == Some(seq) && line.is_message();
        let index = self.lines.iter().rposition(is)?;
        Some(self.first + index as i64)
    }

    /// Adds a line at the end and drops the oldest beyond the bound.
    pub fn push(&mut self, line: Line) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || (self.bytes > BYTES_MAX && self.lines.len() > 1) {
            self.drop_first();
        }
    }

    /// Adds lines before all others.
    pub fn begin_with(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.bytes += line.bytes();
            self.first -= 1;
            self.lines.push_front(line);
        }
    }

    fn drop_first(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes -= line.bytes();
            self.first += 1;
            self.older = Older::Perhaps;
        }
        if let At::Line { number, .. } = &mut self.at {
            *number = (*number).max(self.first);
        }
    }

    /// Records a join or part. Returns whether to show it.
    pub fn turns(&mut self, who: &UserName, here: bool, time_ms: i64) -> bool {
        let before = self.people.get(who).copied().unwrap_or_default();
        let active_ms = if here { time_ms } else { before.active_ms };
        self.people.insert(who.clone(), Presence { here, active_ms });
        self.widest = self.widest.max(name_cells(who));
        here || time_ms - before.active_ms < SILENCE_MS
    }

    /// Records that a user has written.
    pub fn spoke(&mut self, who: &UserName, time_ms: i64) {
        if let Some(presence) = self.people.get_mut(who) {
            presence.active_ms = presence.active_ms.max(time_ms);
        }
    }

    /// Sets the members that the server lists, and the count of omitted ones.
    pub fn set_members(&mut self, people: &[UserName], omitted: usize) {
        self.omitted = omitted;
        self.people.values_mut().for_each(|one| one.here = false);
        for name in people {
            self.people.entry(name.clone()).or_default().here = true;
            self.widest = self.widest.max(name_cells(name));
        }
    }

    /// Adds a join or part to the line of the previous ones.
    pub fn moved(&mut self, who: &UserName, came: bool, stamp: (i64, i32)) {
        let folds = matches!(self.lines.back(), Some(Line { what: What::Moves { .. }, .. }));
        if !folds {
            let what = What::Moves { joined: Vec::new(), left: Vec::new() };
            self.push(Line { time_ms: stamp.0, day: stamp.1, seq: None, what });
        }
        let Some(Line { what: What::Moves { joined, left }, .. }) = self.lines.back_mut() else {
            return;
        };
        let (to, from) = if came { (joined, left) } else { (left, joined) };
        // A join and part within one line cancel out.
        match from.iter().position(|one| one == who) {
            Some(index) => drop(from.remove(index)),
            None if to.contains(who) => {}
            None => to.push(who.clone()),
        }
        let nothing = matches!(&self.lines.back().expect("the line was just found").what,
            What::Moves { joined, left } if joined.is_empty() && left.is_empty());
        if nothing && let Some(line) = self.lines.pop_back() {
            self.bytes -= line.bytes();
        }
    }

    /// Adds an own message that is sent, or sent again.
    pub fn outgoing(&mut self, line: Line) {
        if let What::Outgoing { id, .. } = line.what
            && !self.sent_again(id)
        {
            self.push(line);
        }
    }

    pub fn sent_again(&mut self, wanted: MsgId) -> bool {
        let Some(line) = self.find_outgoing(wanted) else { return false };
        if let What::Outgoing { refused, .. } = &mut self.lines[line].what {
            *refused = None;
        }
        true
    }

    pub fn refuse(&mut self, wanted: MsgId, origin: Origin, why: &str) -> bool {
        let Some(line) = self.find_outgoing(wanted) else { return false };
        if let What::Outgoing { refused, .. } = &mut self.lines[line].what {
            *refused = Some((origin, why.to_owned()));
        }
        true
    }

    /// Removes a stored or dropped message; the stored one comes from the server.
    pub fn settle(&mut self, id: MsgId) {
        if let Some(index) = self.find_outgoing(id) {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let Some(line) = self.lines.remove(index) else { return };
        self.bytes -= line.bytes();
        let number = self.first + index as i64;
        if let At::Line { number: at, .. } = &mut self.at
            && *at > number
        {
            *at -= 1;
        }
    }

    /// Shows a transfer in its row, or removes the row.
    pub fn transfers(&mut self, wanted: TransferId, line: Option<Line>) {
        let is = |line: &Line| matches!(&line.what, What::Transfer { id, .. } if *id == wanted);
        match (self.lines.iter().rposition(is), line) {
            (Some(index), Some(line)) => {
                self.bytes = self.bytes + line.bytes() - self.lines[index].bytes();
                self.lines[index].what = line.what;
            }
            (Some(index), None) => self.remove(index),
            (None, Some(line)) => self.push(line),
            (None, None) => {}
        }
    }

    fn find_outgoing(&self, wanted: MsgId) -> Option<usize> {
        // Such messages are near the end, so the search starts there.
        self.lines
            .iter()
            .rposition(|line| matches!(&line.what, What::Outgoing { id, .. } if *id == wanted))
    }

    /// Applies an edit or deletion to a loaded message. A deletion is final.
    pub fn change(&mut self, message: &Message) {
        let Some(of) = message.kind.of() else { return };
        let found = self.lines.iter_mut().rev().find(|line| line.seq == Some(of));
        let Some(Line { what: What::Said { who, text, change, .. }, .. }) = found else {
            return;
        };
        if *who != message.from || *change == Change::Deleted {
            return;
        }
        self.bytes -= text.len();
        match message.kind {
            Kind::Delete { .. } => (*text, *change) = (String::new(), Change::Deleted),
            _ => (*text, *change) = (message.body.text().to_owned(), Change::Edited),
        }
        self.bytes += text.len();
    }

    /// Inserts older messages, in order, before and between the loaded ones.
    pub fn merge(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            let seq = line.seq;
            // Lines without a seq keep their place.
            let newer = |one: &Line| one.seq.is_some() && one.seq >= seq;
            let index = self.lines.iter().position(newer).unwrap_or(self.lines.len());
            let known = self.lines.get(index).is_some_and(|one| one.seq == seq);
            let full = self.lines.len() >= LINES_MAX || self.bytes + line.bytes() > BYTES_MAX;
            if full {
                self.older = Older::None;
            }
            if known || full {
                continue;
            }
            // Before the first newer message, and before any notices between.
            let index = if index == self.first_seq() { self.former() } else { index };
            let place = self.first + index as i64;
            // Lines before it get another number.
            if let At::Line { number, .. } = &mut self.at
                && *number < place
            {
                *number -= 1;
            }
            self.bytes += line.bytes();
            self.first -= 1;
            self.lines.insert(index, line);
        }
    }

    /// Removes the seqs after this one, which name other messages from now on. Returns whether a
    /// line had one.
    pub fn renumber(&mut self, after: Seq) -> bool {
        let mut any = false;
        for line in self.lines.iter_mut().filter(|line| line.seq.is_some_and(|seq| seq > after)) {
            (line.seq, any) = (None, true);
        }
        (self.last, self.read) = (self.last.min(after), self.read.min(after));
        self.divider = self.divider.filter(|divider| *divider <= after);
        (self.hole, self.asked, self.seeks) = (None, None, false);
        any
    }

    /// Count of lines up to the last message of a former epoch, above which nothing is loaded.
    fn former(&self) -> usize {
        let of_former = |line: &Line| line.seq.is_none() && matches!(line.what, What::Said { .. });
        let end = self.first_seq();
        self.lines.iter().take(end).rposition(of_former).map_or(0, |index| index + 1)
    }

    /// The index of the first line that has a seq.
    fn first_seq(&self) -> usize {
        self.lines.iter().position(|line| line.seq.is_some()).unwrap_or(0)
    }

    /// Count of own messages that are not stored.
    pub fn waiting(&self) -> usize {
        let waits = |line: &&Line| matches!(line.what, What::Outgoing { refused: None, .. });
        self.lines.iter().filter(waits).count()
    }

    pub fn newest(&self) -> Option<Seq> {
        self.lines.iter().rev().find_map(|line| line.seq)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the oldest sixteenth of the lines.
    pub fn drop_some(&mut self) {
        self.made_room = true;
        for _ in 0..=self.lines.len() / 16 {
            self.drop_first();
        }
    }

    pub fn has_notice(&self, text: &str) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(&line.what, What::Server { text: one, .. } if one == text))
    }

    /// Seq of the oldest loaded message.
    pub fn oldest(&self) -> Option<Seq> {
        self.lines.iter().find_map(|line| line.seq)
    }

    /// Drops everything except unstored own messages; the rest is loaded again from the server.
    pub fn clear(&mut self, older: Older) {
        self.first += self.lines.len() as i64;
        self.lines.retain(|line| matches!(line.what, What::Outgoing { .. }));
        self.first -= self.lines.len() as i64;
        self.bytes = self.lines.iter().map(Line::bytes).sum();
        (self.at, self.divider, self.older) = (At::End, None, older);
        (self.hole, self.seeks) = (None, false);
    }

    /// Sets the count of members; those without a name are the omitted ones.
    pub fn counts(&mut self, here: usize) {
        if self.omitted > 0 {
            self.omitted = here.saturating_sub(self.named());
        }
    }

    fn named(&self) -> usize {
        self.people.values().filter(|one| one.here).count()
    }

    pub fn here(&self) -> usize {
        self.named().saturating_add(self.omitted)
    }
}

/// Unread messages: their number, the divider before the first one, and what is not loaded.
impl Window {
    /// Marks everything as read. Returns the position if it is new.
    pub fn seen(&mut self) -> Option<Seq> {
        (self.unread, self.mentions) = (0, 0);
        let news = self.last > self.read;
        self.read = self.read.max(self.last);
        news.then_some(self.read)
    }

    /// Sets the divider before the first unread message. Before the first visit there is none,
    /// because it would be above everything.
    pub fn divide(&mut self) {
        if self.divider.is_none() && (self.visited || self.read > Seq(0)) {
            (self.divider, self.new) = (Some(self.read), 0);
        }
    }

    /// Takes the number of unread messages after one seq and up to another.
    pub fn counted(&mut self, (after, upto): (Seq, Seq), messages: usize) {
        let later = self.lines.iter().rev().take_while(|line| line.seq.is_none_or(|it| it > upto));
        let later = later.filter(|line| line.seq.is_some() && !line.is_own()).count();
        let messages = messages.saturating_add(later);
        self.last = self.last.max(upto);
        if self.read <= after {
            (self.read, self.unread) = (after, messages);
            if matches!(self.target, Target::User(_)) {
                self.mentions = messages;
            }
        }
        match messages {
            0 => drop(self.divider.take_if(|divider| *divider == after)),
            _ => {
                self.divider.get_or_insert(after);
                self.new = messages;
            }
        }
    }

    /// Records that another device has read up to here.
    pub fn read_elsewhere(&mut self, seq: Seq) {
        self.read = self.read.max(seq);
        if self.read >= self.last {
            (self.unread, self.mentions) = (0, 0);
        }
    }

    /// Counts the mentions: in a channel among the loaded unread messages, and in a private
    /// conversation all unread messages.
    pub fn recount_mentions(&mut self) {
        let read = self.read;
        let unread = |line: &&Line| line.seq.is_some_and(|seq| seq > read);
        self.mentions = match self.target {
            Target::Channel(_) => {
                self.lines.iter().filter(unread).filter(|line| line.is_mention()).count()
            }
            Target::User(_) => self.unread,
        };
    }

    /// Returns whether the divider is before this line.
    pub fn divides(&self, number: i64) -> bool {
        let (Some(divider), Some(line)) = (self.divider, self.line(number)) else { return false };
        if line.is_own() || line.seq.is_none_or(|seq| seq <= divider) {
            return false;
        }
        self.is_loaded_to(divider) && !self.has_new_before(number, divider)
    }

    /// Returns whether a loaded message of others before this line is behind the divider.
    fn has_new_before(&self, number: i64, divider: Seq) -> bool {
        let before = (self.numbers().start..number).rev().filter_map(|number| self.line(number));
        let mut before = before.filter(|line| !line.is_own()).filter_map(|line| line.seq);
        before.next().is_some_and(|seq| seq > divider)
    }

    /// The first line behind the divider, if it is loaded.
    pub fn first_new(&self) -> Option<i64> {
        self.numbers().find(|number| self.divides(*number))
    }

    /// The number of new messages, if the first one is above this line.
    pub fn new_above(&self, top: i64) -> Option<usize> {
        let divider = self.divider.filter(|_| self.new > 0)?;
        let mut visible = (top..self.numbers().end).filter_map(|number| self.line(number));
        let is_behind = visible.find_map(|line| line.seq).is_none_or(|seq| seq > divider);
        let above = is_behind && (!self.is_loaded_to(divider) || self.has_new_before(top, divider));
        above.then_some(self.new)
    }

    /// Returns whether all messages after this one are loaded.
    pub fn is_loaded_to(&self, seq: Seq) -> bool {
        let oldest = self.oldest().is_some_and(|oldest| oldest.0 <= seq.0.saturating_add(1));
        let is_whole = self.hole.is_none_or(|(_, upto)| upto <= seq);
        is_whole && (oldest || self.older == Older::None)
    }

    /// Takes a gap in the messages, which `history` can fill. Returns whether to report it.
    pub fn gap(&mut self, from: Seq, upto: Seq) -> bool {
        match self.at {
            _ if self.newest().is_none() => false,
            // Missing messages are loaded by scrolling up, together with the others.
            At::End if !self.target.is_sealed() => {
                let (divider, new) = (self.divider, self.new);
                self.clear(Older::Perhaps);
                (self.divider, self.new) = (divider, new);
                false
            }
            // A server could withhold verified messages once they are dropped.
            _ => {
                let from = self.hole.map_or(from, |(before, _)| before.min(from));
                (self.hole, self.older) = (Some((from, upto)), Older::Perhaps);
                true
            }
        }
    }

    /// Takes older messages, which may be those of the hole. There may be `more`.
    pub fn loaded(&mut self, lines: Vec<Line>, more: bool) {
        let before = self.oldest();
        let asked = self.asked.take();
        let hole = self.hole.filter(|(_, upto)| asked == Some(Seq(upto.0.saturating_add(1))));
        if let Some((from, upto)) = hole {
            let oldest = lines.iter().filter_map(|line| line.seq).min();
            let left = oldest.map(|oldest| Seq(oldest.0.saturating_sub(1)));
            self.hole = left.filter(|left| (from..upto).contains(left)).map(|left| (from, left));
        }
        self.merge(lines);
        // A server that claims more and sends none is not asked again and again. Messages may have
        // come since the request.
        let more = hole.is_some() || more && (self.oldest() != before || asked != before);
        self.older = if more { Older::Perhaps } else { Older::None };
        self.recount_mentions();
    }

    /// Returns whether older messages are loaded without the user scrolling up.
    pub fn wants_older(&self) -> bool {
        let wanted = match self.divider.filter(|_| self.seeks) {
            Some(divider) => Some(divider),
            None => {
                let channel = matches!(self.target, Target::Channel(_));
                let few = self.lines.len() < MENTIONS_MESSAGES_MAX && !self.made_room;
                Some(self.read).filter(|_| channel && few && self.unread > 0)
            }
        };
        let missing = wanted.is_some_and(|seq| !self.is_loaded_to(seq));
        let may_ask = match self.older {
            Older::Perhaps => true,
            // There is nothing before the first one.
            Older::None => self.hole.is_some(),
            Older::Asked | Older::Later => false,
        };
        missing && self.joined && may_ask
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
