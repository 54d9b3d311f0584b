//! A line of a conversation: a message, an event or a notice; and what lies around the lines. Pure.

use jiff::tz::TimeZone;

use crate::chat::{Kind, Message, MsgId, Seq, UserName};
use crate::client::model::Origin;
use crate::client::transfer::TransferId;
use crate::client::ui::picture::Cell;

/// A line: a message, an event or a notice.
#[derive(Debug)]
pub struct Line {
    pub time_ms: i64,
    /// Days since 1970 in the local time zone.
    pub day: i32,
    pub seq: Option<Seq>,
    pub what: What,
}

/// The form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// `/me`.
    Action,
    /// The announcement of a file.
    File,
}

/// What was done to a message after it was sent. A deletion is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Edited,
    Deleted,
}

#[derive(Debug, PartialEq)]
pub enum What {
    Said {
        who: UserName,
        text: String,
        form: Form,
        own: bool,
        mention: bool,
        change: Change,
        /// The preview of a picture, in cells.
        preview: Vec<Vec<Cell>>,
    },
    /// An own message that is not stored yet; refused ones have the reason.
    Outgoing {
        id: MsgId,
        who: UserName,
        text: String,
        me: bool,
        refused: Option<(Origin, String)>,
    },
    /// Joins and parts, folded into one line.
    Moves {
        joined: Vec<UserName>,
        left: Vec<UserName>,
    },
    /// A transfer in progress, whose row is rewritten.
    Transfer {
        id: TransferId,
        text: String,
    },
    /// A text of this client.
    Notice(String),
    Error(String),
    /// A text of the server.
    Server {
        text: String,
        error: bool,
    },
}

/// The bottom of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest line, whatever arrives.
    End,
    /// This line, without this many of its last rows.
    Line { number: i64, rows_below: usize },
}

/// Availability of older messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    Perhaps,
    Asked,
    /// The server has refused for its rate; the request is repeated when the user scrolls.
    Later,
    None,
}

impl Form {
    pub fn of(kind: &Kind) -> Form {
        match kind {
            Kind::Me => Form::Action,
            Kind::File { .. } => Form::File,
            Kind::Say | Kind::Edit { .. } | Kind::Delete { .. } => Form::Text,
        }
    }
}

impl Change {
    /// Of a message as the server sends it.
    pub fn of(message: &Message) -> Change {
        match (message.deleted, message.edited) {
            (true, _) => Change::Deleted,
            (false, true) => Change::Edited,
            (false, false) => Change::None,
        }
    }
}

impl Line {
    pub fn bytes(&self) -> usize {
        let text = match &self.what {
            What::Said { text, .. } | What::Outgoing { text, .. } => text.len(),
            What::Notice(text) | What::Error(text) | What::Server { text, .. } => text.len(),
            What::Transfer { text, .. } => text.len(),
            What::Moves { .. } => 0,
        };
        size_of::<Line>() + text
    }

    /// The line's text, for a search.
    pub fn text(&self) -> &str {
        match &self.what {
            What::Said { text, .. } | What::Outgoing { text, .. } => text,
            What::Notice(text) | What::Error(text) | What::Server { text, .. } => text,
            What::Transfer { text, .. } => text,
            What::Moves { .. } => "",
        }
    }

    pub fn is_mention(&self) -> bool {
        matches!(self.what, What::Said { mention: true, .. })
    }

    pub fn is_file(&self) -> bool {
        matches!(self.what, What::Said { form: Form::File, .. })
    }

    /// Returns whether this is a message that can be answered: stored, and not deleted.
    pub fn is_message(&self) -> bool {
        let is_deleted = matches!(self.what, What::Said { change: Change::Deleted, .. });
        self.seq.is_some() && matches!(self.what, What::Said { .. }) && !is_deleted
    }

    pub fn is_own(&self) -> bool {
        matches!(self.what, What::Said { own: true, .. })
    }
}

/// The local day of a time, in days since 1970.
pub fn day(time_ms: i64, zone: &TimeZone) -> i32 {
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
    let midnight = time.to_zoned(zone.clone()).date();
    let epoch = jiff::civil::date(1970, 1, 1);
    (midnight - epoch).get_days()
}
