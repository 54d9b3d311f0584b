//! An authenticated connection. Its thread reads, decodes and passes requests to the hub, and never
//! waits for another client.

mod answers;
mod transfers;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::PlainMember;
use super::accounts::{self, host_key};
use super::admission::{Applicant, KeyHolder, Offence};
use super::authentication::{self, Candidate, Proof};
use super::context::Context;
use super::delivery::send_queue::SendQueue;
use super::hub::Said;
use super::observe::log as server_log;
use super::operator::{self, Actor, moderation};
use super::readers;
use super::session_tickets::{self, Holder};
use crate::chat::registry::{Participant, Purpose, Query};
use crate::chat::rights::{self, Role, State};
use crate::chat::{
    Body, Code, Command, DeviceName, Event, FileBytes, FileRules, NewMessage, Refusal, Request,
    SessionId, Target, UserName,
};
use crate::clean;
use crate::crypto::password::PasswordHash;
use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;
use crate::crypto::{PublicKey, RecordType};
use crate::home::sanctions::{Subject, Whom};
use crate::limits::{FILE_PAUSE_MS_MAX, REF_BYTES_MAX, SESSION_TICKET_S_MAX};
use crate::net::link::is_timeout;
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::wire::{codec, stored_fields};
use answers::Answers;
use transfers::{Handled, Owner, Transfers};

/// Maximum delay of a client that slightly exceeds its rate; beyond it, requests are refused.
const PATIENCE_MS: u64 = 3_000;

/// Reserve for the fields that a delivered message has beside its own: type, longest seq and, from
/// history, field names, marks and the longest reference.
const LINE_HEAD_BYTES: usize = 320;

/// Pause between two checks of a session that has not read its answers.
const BEHIND_MS: u64 = 100;

/// The reason for the end of a session, as shown to other members.
enum End {
    Quit,
    Cut,
    /// The server ended it: an operator, or a limit.
    Ended,
    Protocol(&'static str),
    Idle,
    Age,
}

struct Session {
    context: Arc<Context>,
    queue: Arc<SendQueue>,
    user: UserName,
    device: DeviceName,
    address: IpAddr,
    /// Used by the session's own thread only.
    transfers: RefCell<Transfers>,
    plain_member: PlainMember,
}

impl End {
    /// The reason in the log.
    fn how(&self) -> &str {
        match self {
            End::Quit => "left",
            End::Cut => "was cut off",
            End::Ended => "was ended from here",
            End::Idle => "sent nothing for idle_s_max",
            End::Age => "is old enough to log in again",
            End::Protocol(fault) => fault,
        }
    }
}

/// A session that has started.
pub struct Entered {
    leaving: Leaving,
    reader: TunnelReader,
    /// For a client that takes session tickets.
    tickets: Option<Tickets>,
}

/// Sends session tickets to a client: after its login, and again before they expire.
struct Tickets {
    holder: Holder,
    sent_s: u64,
}

impl Tickets {
    fn new(session: &Session, password: Option<&PasswordHash>, proven_s: Option<u64>) -> Tickets {
        let holder = Holder {
            user: session.user.clone(),
            key: session.queue.key,
            password: password.cloned(),
            proven_s: proven_s.unwrap_or_else(session_tickets::now_s),
        };
        Tickets { holder, sent_s: 0 }
    }

    fn issue(&mut self, context: &Context) -> Option<Event> {
        self.sent_s = session_tickets::now_s();
        context.session_tickets.issue(&self.holder)
    }

    fn renew(&mut self, session: &Session) {
        let age_s = session_tickets::now_s().saturating_sub(self.sent_s);
        if age_s >= SESSION_TICKET_S_MAX / 2 {
            self.issue(&session.context).iter().for_each(|event| session.answer(event));
        }
    }
}

/// Starts a session for a peer that has proven its key; `None` if it may not connect, after it was
/// notified.
pub fn enter(context: &Arc<Context>, holder: KeyHolder, id: SessionId) -> Option<Entered> {
    let Some((user, device)) = context.accounts.admit(&holder.key) else {
        not_admitted(context, holder);
        return None;
    };
    let KeyHolder { login, key, mut reader, outgoing, waiting, peer, proven_s } = holder;
    // Dropped before the peer has entered, it penalises the source.
    let registered = waiting.registered();
    let address = peer.ip();
    let whom = Whom { user: &user, key: key.fingerprint(), address: Some(address) };
    let muted = context.access.standing(whom).1 == State::Muted;
    // A user's only key may be on any device, which may name itself. The name is hidden if others
    // may not see texts of this user.
    let device = match login.device {
        Some(own) if device.is_default() && !muted => own,
        _ => device,
    };
    let answers_max = context.config.get().limits.answers_bytes_max;
    let queue = Arc::new(SendQueue::new(id, key.fingerprint(), outgoing, answers_max));
    let session = Session::new(context, queue, (user, device), address);
    if session.is_barred() {
        return None;
    }
    let (user, ticket) = (&session.user, login.ticket.as_ref());
    let candidate = Candidate { user, address, queue: &session.queue, ticket };
    let proof = match authentication::authenticate(context, &candidate, &mut reader) {
        Ok(proof) => proof,
        Err(offence) => {
            registered.refused(offence);
            return None;
        }
    };
    let has = |wanted: &str| login.features.iter().any(|feature| feature == wanted);
    let (purpose, keeps_ticket) = (purpose(has("job"), has("resume")), has("ticket"));
    session.standing();
    let mut tickets =
        has("session_ticket").then(|| Tickets::new(&session, proof.password(), proven_s));
    let mut first = vec![session.welcome()];
    first.extend(tickets.iter_mut().filter_map(|tickets| tickets.issue(context)));
    if let Err(event) = session.begin(&key, purpose, first) {
        session.queue.end(Some(&*event), "refused");
        registered.refused(Offence::Unserved);
        return None;
    }
    registered.entered();
    log::info!("{} ({}) entered", session.user, session.device);
    context.admission.note_login(&session.user, address);
    let leaving = Leaving { session, cut: true };
    end_unless_admitted(context, &leaving.session, &key, &proof);
    let session = &leaving.session;
    session.is_barred();
    if keeps_ticket {
        let ticket = proof.ticket(context, &session.user, session.queue.key);
        ticket.iter().for_each(|event| session.answer(event));
    }
    session.send_key_changes();
    Some(Entered { leaving, reader, tickets })
}

/// Ends the session if its key was removed, or its password changed, while it logged in.
fn end_unless_admitted(context: &Context, session: &Session, key: &PublicKey, proof: &Proof) {
    if context.accounts.admit(key).is_none() {
        context.hub.end_key(&key.fingerprint(), Code::Removed, "your key was removed");
    }
    if !proof.holds(context, &session.user) {
        let subject = Subject::User(session.user.clone());
        context.access.end_subject(&subject, Code::Password, accounts::PASSWORD_CHANGED, None);
    }
}

impl Entered {
    /// Serves the peer until the session ends. Runs on the peer's own thread.
    pub fn serve(self) {
        let Entered { mut leaving, reader, tickets } = self;
        let session = &leaving.session;
        let end = match session.run(reader, tickets) {
            End::Cut if session.queue.was_ended() => End::Ended,
            end => end,
        };
        match end {
            End::Quit => session.queue.end(None, "quit"),
            End::Age => session.queue.end(None, "rekey"),
            End::Idle => session.queue.end(None, "idle_timeout"),
            // The peer gets a code; the log has the details.
            End::Protocol(_) => session.queue.end(None, "protocol"),
            End::Cut | End::Ended => {}
        }
        let name = format!("{} ({})", session.user, session.device);
        leaving.cut = match end {
            End::Quit | End::Ended | End::Protocol(_) => false,
            End::Age | End::Idle | End::Cut => true,
        };
        drop(leaving);
        log::info!("{name} ended: {}", end.how());
    }
}

/// Tells a client whose key is not registered, inside the encrypted channel, how to be admitted.
fn not_admitted(context: &Context, holder: KeyHolder) {
    let KeyHolder { login, key, outgoing, waiting, peer, .. } = holder;
    let fingerprint = key.fingerprint();
    let from = server_log::address(peer);
    log::info!("not admitted: {} from {from} with {fingerprint}", login.name);
    let name = login.name.clone();
    let applicant = Applicant { key, name, device: login.device, address: peer.ip() };
    // The operator has decided about a banned one.
    let is_banned = context.access.is_banned(applicant.whom());
    waiting.not_registered((!is_banned).then_some(applicant));
    context.hub.counters().refused(Code::NotAdmitted);
    let reason =
        format!("{fingerprint} is not registered here: send your key line to the operator");
    let event = Event::Goodbye { code: Code::NotAdmitted, reason, retry_ms: Some(2_000) };
    let limit = context.config.get().limits.answers_bytes_max;
    let queue = SendQueue::new(SessionId(0), fingerprint, outgoing, limit);
    queue.end(Some(&event), "not_admitted");
}

/// Removes the session from the hub, also if its thread panics.
struct Leaving {
    session: Session,
    /// Whether the connection broke, so that the user may return soon.
    cut: bool,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let queue = &self.session.queue;
        self.session.transfers.borrow_mut().end(self.session.owner());
        self.session.standing();
        self.session.context.hub.leave(queue, queue.farewell().as_deref(), self.cut);
    }
}

impl Session {
    /// Enters the hub; `first` are the first events. Otherwise returns the event that ends the
    /// connection.
    fn begin(
        &self,
        key: &PublicKey,
        purpose: Purpose,
        first: Vec<Event>,
    ) -> Result<(), Box<Event>> {
        let hub = &self.context.hub;
        let participant = self.participant(purpose);
        let enter = || hub.enter(&self.queue, participant, first);
        self.context.accounts.begin(key, &self.user, enter)?.map_err(|refusal| {
            let (code, reason) = (refusal.code(), refusal.to_string());
            hub.counters().refused(code);
            let retry_ms = refusal.retry_ms().or(Some(10_000));
            Box::new(Event::Goodbye { code, reason, retry_ms })
        })
    }

    fn new(
        context: &Arc<Context>,
        queue: Arc<SendQueue>,
        (user, device): (UserName, DeviceName),
        address: IpAddr,
    ) -> Session {
        let (context, transfers) = (Arc::clone(context), RefCell::default());
        let plain_member = PlainMember::default();
        Session { context, queue, user, device, address, transfers, plain_member }
    }

    fn participant(&self, purpose: Purpose) -> Participant {
        Participant { user: self.user.clone(), device: self.device.clone(), purpose }
    }

    fn welcome(&self) -> Event {
        Event::Welcome {
            name: self.user.clone(),
            device: self.device.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            text_bytes_max: self.context.config.get().limits.text_bytes_max,
            time_ms: jiff::Timestamp::now().as_millisecond(),
            motd: self.context.decided.now().motd_over(&self.context.config.get()),
            files: self.file_rules(),
        }
    }

    /// Sends the changes of the server's key and of the user's keys.
    fn send_key_changes(&self) {
        let successor = host_key::successor(&self.context.host_keys.get());
        let missed = self.context.key_history.missed(&self.queue.key);
        successor.iter().chain(&missed).for_each(|event| self.answer(event));
    }

    /// What the server accepts as files, if it keeps any.
    fn file_rules(&self) -> Option<FileRules> {
        let config = self.context.config.get();
        let (limits, keeps) = (&config.limits, self.context.files.is_some());
        let bytes_max = FileBytes(transfers::largest(limits));
        let rules = FileRules { bytes_max, age_s_max: limits.file_age_s_max };
        (keeps && limits.file_bytes_max > 0).then_some(rules)
    }

    fn owner(&self) -> Owner<'_> {
        Owner { context: &self.context, queue: &self.queue, user: &self.user }
    }

    fn whom(&self) -> Whom<'_> {
        Whom { user: &self.user, key: self.queue.key, address: Some(self.address) }
    }

    /// Ends the session, with the reason, if the user may no longer be connected.
    fn is_barred(&self) -> bool {
        let Some(event) = self.context.access.bars(self.whom()) else { return false };
        if let Event::Goodbye { code, .. } = &event {
            self.context.hub.counters().refused(*code);
        }
        log::info!("{} ({}) may not come in", self.user, self.device);
        self.queue.end(Some(&event), "refused");
        true
    }

    /// Returns the user's role, state, and the notice about the state. The announcements of this
    /// user's next action depend on it.
    fn standing(&self) -> (Role, State, Option<String>) {
        if self.context.access.is_plain_member(&self.user, &self.plain_member) {
            self.queue.set_muted(false);
            return (Role::Member, State::Free, None);
        }
        let standing = self.context.access.standing(self.whom());
        self.queue.set_muted(standing.1 == State::Muted);
        standing
    }

    /// The user as an operator.
    fn actor(&self) -> Actor<'_> {
        let (role, state, _) = self.standing();
        let (whom, offered) = (Some(self.whom()), self.queue.offered);
        Actor { role, state, name: self.user.to_string(), whom, offered }
    }

    /// Checks the table of rights, before anything else.
    fn may(&self, command: &Command) -> Result<(), Refusal> {
        let act = command.act().ok_or(Refusal::Unknown)?;
        let (role, state, why) = self.standing();
        match state {
            _ if rights::may(role, state, act) => Ok(()),
            State::Free | State::Reading => {
                // Names the right of the command: its least role is that of whom the user may ask.
                let words = match command {
                    Command::Operate { words } => words.as_slice(),
                    _ => &[],
                };
                let act = operator::find(words).map_or(act, |command| command.act);
                Err(Refusal::NotAllowed(act, role))
            }
            State::Muted => Err(Refusal::Muted(why.unwrap_or_default())),
            State::Banned => Err(Refusal::Banned(why.unwrap_or_default())),
        }
    }

    fn run(&self, mut reader: TunnelReader, mut tickets: Option<Tickets>) -> End {
        let config = self.context.config.get();
        let limits = &config.limits;
        let ping = Duration::from_secs(limits.ping_s);
        let idle_timeout = Duration::from_secs(limits.idle_s_max);
        let age = Duration::from_secs(limits.session_age_s_max);
        let began = Instant::now();
        let mut heard = began;
        if reader.set_timeout(ping).is_err() {
            return End::Cut;
        }
        loop {
            if began.elapsed() >= age {
                return End::Age;
            }
            match reader.receive() {
                Ok(Incoming::Record(kind, body)) => {
                    heard = Instant::now();
                    if kind == RecordType::Ping {
                        tickets.iter_mut().for_each(|tickets| tickets.renew(self));
                    }
                    if let Some(end) = self.record(kind, body) {
                        return end;
                    }
                    if !reader.has_record() {
                        self.transfers.borrow_mut().report();
                    }
                }
                Ok(Incoming::Closed(Some(_))) => return End::Quit,
                Ok(Incoming::Closed(None)) => return End::Cut,
                Err(error) if is_timeout(&error) => {
                    let silent = heard.elapsed();
                    if silent >= idle_timeout {
                        return End::Idle;
                    }
                    tickets.iter_mut().for_each(|tickets| tickets.renew(self));
                    self.send(RecordType::Ping, b"");
                    if reader.set_timeout(ping.min(idle_timeout - silent)).is_err() {
                        return End::Cut;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return End::Protocol("a record that does not open");
                }
                Err(_) => return End::Cut,
            }
        }
    }

    fn record(&self, kind: RecordType, body: &[u8]) -> Option<End> {
        match kind {
            RecordType::Json => {
                let mut requests = codec::decode::<Request>(body).peekable();
                if requests.peek().is_none() {
                    self.pay();
                }
                for request in requests {
                    // Requests that arrived before the end are not processed after it.
                    if self.queue.is_over() {
                        return Some(End::Cut);
                    }
                    match request {
                        Ok(Request { command: Command::Quit, .. }) => return Some(End::Quit),
                        Ok(request) => self.request(request),
                        Err(error) => self.malformed(error),
                    }
                }
                None
            }
            RecordType::Ping => {
                self.pay();
                self.send(RecordType::Pong, body);
                None
            }
            RecordType::Binary => {
                let handled = self.transfers.borrow_mut().record(self.owner(), body);
                match handled {
                    Handled::Free => None,
                    Handled::Bytes(bytes) => {
                        let wait = self.context.hub.pay_file_bytes(&self.queue, bytes);
                        let most = Duration::from_millis(FILE_PAUSE_MS_MAX);
                        wait.iter().for_each(|wait| self.queue.pause((*wait).min(most)));
                        None
                    }
                    Handled::Paid => {
                        self.pay();
                        None
                    }
                    Handled::Violation(fault) => Some(End::Protocol(fault)),
                }
            }
            // They need no action, and cost as much as a request.
            RecordType::Pong | RecordType::Other(128..) => {
                self.pay();
                None
            }
            _ => Some(End::Protocol("a record of an unexpected type")),
        }
    }

    /// Refuses a malformed message. The refusal names the fault and none of its text.
    fn malformed(&self, error: codec::CodecError) {
        let hint = clean::line(&error.to_string());
        let codec::Names { id, reference } = error.names;
        let reference = reference.filter(|reference| reference.len() <= REF_BYTES_MAX);
        let event = Event::Refused { code: Code::BadRequest, hint, id, retry_ms: None, reference };
        self.context.hub.counters().refused(Code::BadRequest);
        self.pay();
        self.answer(&event);
    }

    /// Charges malformed and refused messages like requests: only their sender is delayed.
    fn pay(&self) {
        while let Err(Refusal::Rate { retry_ms }) = self.context.hub.pay(&self.queue) {
            if self.queue.is_over() {
                return;
            }
            self.queue.pause(Duration::from_millis(retry_ms));
        }
    }

    fn request(&self, mut request: Request) {
        clean_texts(&mut request.command);
        if request.names().1.is_some_and(|reference| reference.len() > REF_BYTES_MAX) {
            self.pay();
            return self.answer(&Refusal::LongReference.event(None, None));
        }
        let began = Instant::now();
        loop {
            let Err(refusal) = self.run_request(&mut request) else { return };
            let wait = match refusal {
                Refusal::Rate { retry_ms } => Some(Duration::from_millis(retry_ms)),
                Refusal::ReadersBusy => Some(readers::TURN),
                _ => None,
            };
            let patience = Duration::from_millis(PATIENCE_MS);
            match wait.filter(|wait| began.elapsed() + *wait <= patience) {
                Some(wait) => {
                    // Only the sender waits; reading continues afterwards.
                    self.queue.pause(wait);
                    if self.queue.is_over() {
                        return;
                    }
                }
                None => {
                    if let Refusal::PinJoins { max, refused, .. } = &refusal {
                        moderation::note_pin_joins(&self.context, &self.user, *max, *refused);
                    }
                    let (id, reference) = request.names();
                    self.context.hub.counters().refused(refusal.code());
                    self.pay();
                    return self.answer(&refusal.event(id, reference.cloned()));
                }
            }
        }
    }

    /// Passes a request to the hub, and answers queries that the hub leaves to the session.
    fn run_request(&self, request: &mut Request) -> Result<(), Refusal> {
        self.may(&request.command)?;
        let directory = |name: &UserName| self.context.accounts.find(name);
        if let Command::Say(message) = &mut request.command {
            let said = self.said(message)?;
            return self.context.hub.say(&self.queue, message, &said, &directory);
        }
        let request = &*request;
        self.may_draw(&request.command)?;
        let query = self.context.hub.run(&self.queue, request, &directory)?;
        let Some(query) = query else { return Ok(()) };
        if let Query::Put { .. } | Query::Get { .. } | Query::Drop(_) | Query::Usage = query {
            let reference = request.reference.clone();
            return self.transfers.borrow_mut().query(self.owner(), query, reference);
        }
        let answers = Answers { context: &self.context, queue: &self.queue, user: &self.user };
        answers.answer(query, request.reference.clone(), || self.actor())
    }

    /// Delays a long answer until the client has read earlier ones, so that none are buffered here.
    fn may_draw(&self, command: &Command) -> Result<(), Refusal> {
        let unread = match command {
            Command::History { .. } | Command::Search { .. } | Command::Count { .. } => {
                Refusal::Unread
            }
            Command::People { .. } | Command::Channels | Command::Keys { .. } => {
                Refusal::Rate { retry_ms: BEHIND_MS }
            }
            _ => return Ok(()),
        };
        if self.queue.is_behind() { Err(unread) } else { Ok(()) }
    }

    /// Returns a message as it will be delivered.
    fn said(&self, message: &NewMessage) -> Result<Said, Refusal> {
        let to = match &message.to {
            Target::User(name) => {
                Target::User(self.context.accounts.find(name).unwrap_or(name.clone()))
            }
            channel => channel.clone(),
        };
        let time_ms = jiff::Timestamp::now().as_millisecond();
        let fields = stored_fields(&to, &self.user, &self.device, time_ms, message);
        fits(&fields)?;
        Ok(Said { time_ms, fields })
    }

    fn answer(&self, event: &Event) {
        self.context.hub.delivery.answer(&self.queue, event);
    }

    fn send(&self, kind: RecordType, body: &[u8]) {
        self.context.hub.delivery.send(&self.queue, kind, body);
    }
}

/// Checks that a message fits in a record as JSON, in which quotes and backslashes are escaped.
fn fits(fields: &[u8]) -> Result<(), Refusal> {
    let (bytes, max_bytes) = (fields.len(), RECORD_BODY_BYTES_MAX - LINE_HEAD_BYTES);
    if bytes > max_bytes { Err(Refusal::TooLong { bytes, max_bytes }) } else { Ok(()) }
}

/// Cleans texts for others before any decision about them.
fn clean_texts(command: &mut Command) {
    match command {
        Command::Say(NewMessage { body: Body::Text(text), .. }) => clean::wash(text),
        Command::Topic { text: Some(text), .. }
        | Command::Away { text: Some(text) }
        | Command::Search { text, .. } => *text = clean::line(text),
        _ => {}
    }
}

fn purpose(is_job: bool, resumes: bool) -> Purpose {
    match (is_job, resumes) {
        (true, _) => Purpose::Job,
        (false, true) => Purpose::Resume,
        (false, false) => Purpose::Visit,
    }
}
