//! What an operator may say, at the console and through `pychat ctl`: one table for both.

pub mod console;
pub mod ctl;
pub mod moderation;
mod reload;
mod reply;

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::house::House;
use super::observe::log as server_log;
use crate::chat::rights::{self, Act, Role, State};
use crate::chat::{ChannelName, Place, Refusal, TimeSpan, UserName};
use crate::clean;
use crate::home::Decision;
use crate::home::sanctions::{Kind, Whom};
use crate::ledger::{LedgerError, Swept};
use reply::{Reply, misused, no, with, yes};

/// Sessions of a person who was removed are over within this time.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Who says a word.
pub struct Actor<'a> {
    pub role: Role,
    pub state: State,
    /// As records and other people name them: a user, `console` or `ctl`.
    pub name: String,
    /// None for who holds the server's own account.
    pub whom: Option<Whom<'a>>,
}

impl Actor<'_> {
    /// Whoever holds the server's own account, at its terminal or through its socket.
    pub fn own(name: &str) -> Actor<'static> {
        Actor { role: Role::Console, state: State::Free, name: name.to_owned(), whom: None }
    }

    /// For the records.
    pub fn did<'b>(&'b self, action: &'b str) -> Decision<'b> {
        Decision { actor: &self.name, action, ..Decision::default() }
    }

    /// As the person is told who is kicked or banned.
    pub fn title(&self) -> &str {
        if self.whom.is_some() { &self.name } else { "the operator" }
    }
}

/// A word, its right, what follows it, and what it does.
type Word = (&'static str, Act, &'static str, &'static str);

const WORDS: &[Word] = &[
    ("channels", Act::House, "", "channels with the people in them"),
    ("stats", Act::House, "", "figures since the start"),
    ("status", Act::House, "", "the same in one line"),
    ("health", Act::House, "", "whether the server answers"),
    ("users", Act::House, "", "who is registered and who is here"),
    ("kick", Act::Kick, "WHOM [REASON]", "end all sessions of a NAME, a key or an address"),
    ("ban", Act::Ban, "WHOM [TIME] [REASON]", "shut out a NAME, a key or an address range"),
    ("unban", Act::Unban, "WHOM", "let them in again"),
    ("banlist", Act::Banlist, "", "who is banned and muted, by whom, why, for how long"),
    ("mute", Act::Mute, "WHOM [TIME] [REASON]", "take the word from somebody"),
    ("unmute", Act::Unmute, "WHOM", "give it back"),
    ("op", Act::Op, "NAME", "make a member a moderator"),
    ("deop", Act::Deop, "NAME", "make a moderator a member"),
    ("announce", Act::Announce, "TEXT", "a word to everybody, with its author's name"),
    ("say", Act::House, "TEXT", "a word to everybody"),
    ("motd", Act::Motd, "[TEXT or -]", "what everybody reads who enters; - for nothing"),
    ("retention", Act::House, "[dry-run|now]", "how long lines are kept; remove or count old ones"),
    ("erase", Act::House, "NAME", "take the texts of all lines of a person away"),
    ("reload", Act::Reload, "", "read config.json and users/ again"),
    ("help", Act::Operate, "", "this list"),
    ("exit", Act::House, "", "leave the console; the server goes on"),
    (
        "shutdown",
        Act::Shutdown,
        "[DELAY or -]",
        "stop the server, now or in 10s, 5m, 1h; - takes it back",
    ),
];

/// A decision is in the audit trail before its author has the answer, unless that takes longer.
pub const RECORD_PATIENCE: Duration = Duration::from_secs(1);

/// What is taken of a word that is none of these.
const WORD_CHARS_MAX: usize = 32;

/// A ledger that has not answered by then is stuck.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

/// Who reads the ledger beside the server is waited for this long, and looked at this often.
const READ_TIME: Duration = Duration::from_secs(5);
const READ_PAUSE: Duration = Duration::from_millis(100);

const REMAINS: &str = "; their texts are still in data/ledger.db-wal, because a program reads the ledger \
    beside the server (a backup?): once it has ended, the next minute's sweep or --now takes them away";

const RULE: &str = "--------------------------------";

/// Does what the words say, where `actor` may.
pub fn obey(house: &House, actor: &Actor, words: &[String]) -> Reply {
    let word = words.first().map_or("", |word| word.trim_start_matches('/'));
    // No word is as long, and the nearest one is looked for letter by letter.
    let word = word.chars().take(WORD_CHARS_MAX).collect::<String>().to_lowercase();
    let rest = words.get(1..).unwrap_or_default();
    let word = match word.as_str() {
        "" => "help",
        "quit" => "exit",
        word => word,
    };
    let Some((word, act, ..)) = WORDS.iter().find(|known| known.0 == word) else {
        return unknown(word);
    };
    if !rights::may(actor.role, actor.state, *act) {
        return no(&Refusal::NotAllowed(*act, actor.role).to_string());
    }
    let before = house.records.added();
    let mut reply = run(house, actor, word, rest);
    if house.records.added() > before {
        let waiting = house.records.settle(RECORD_PATIENCE);
        if waiting > 0 {
            let _ = write!(reply.text, "; {waiting} decisions are not in the audit trail yet");
        }
    }
    reply
}

fn run(house: &House, actor: &Actor, word: &str, rest: &[String]) -> Reply {
    match word {
        "channels" => channels(house),
        "stats" | "status" => stats(house, word == "status"),
        "health" => health(house),
        "users" => users(house),
        "kick" => moderation::kick(house, actor, rest),
        "ban" => moderation::sanction(house, actor, Kind::Ban, rest),
        "mute" => moderation::sanction(house, actor, Kind::Mute, rest),
        "unban" => moderation::lift(house, actor, Kind::Ban, rest),
        "unmute" => moderation::lift(house, actor, Kind::Mute, rest),
        "banlist" => moderation::list(house),
        "op" => moderation::give_role(house, actor, Role::Moderator, rest),
        "deop" => moderation::give_role(house, actor, Role::Member, rest),
        "announce" | "say" => say(house, actor, word, rest),
        "motd" => motd(house, actor, rest),
        "retention" => retention(house, actor, rest),
        "erase" => erase(house, actor, rest),
        "reload" => reload(house, actor),
        "help" => help(actor),
        "exit" => yes("the server goes on; /shutdown stops it"),
        "shutdown" => shutdown(house, actor, rest),
        other => unknown(other),
    }
}

fn reload(house: &House, actor: &Actor) -> Reply {
    house.record(&actor.did("reload"));
    match reload::reload(house, actor.whom) {
        Ok(read) => with(read.to_string(), json!(read)),
        Err(problem) => no(&format!("{problem}: everything stays as it was")),
    }
}

fn help(actor: &Actor) -> Reply {
    yes(&list("/", actor))
}

/// The words of whoever holds the server's own account, as `pychat ctl --help` has them.
pub fn words() -> String {
    list("  ", &Actor::own("ctl"))
}

fn list(before: &str, actor: &Actor) -> String {
    let own = WORDS.iter().filter(|word| rights::may(actor.role, actor.state, word.1));
    let rows: Vec<_> = own
        .map(|(word, _, operands, does)| {
            let call = format!("{before}{word} {operands}");
            format!("{call:<28} {does}")
        })
        .collect();
    rows.join("\n")
}

fn unknown(word: &str) -> Reply {
    let word = clean::line(word);
    let near = WORDS.iter().map(|(known, ..)| (strsim::damerau_levenshtein(known, &word), known));
    match near.min().filter(|(distance, _)| *distance <= 2) {
        Some((_, known)) => misused(&format!("there is no /{word}: did you mean /{known}?")),
        None => misused(&format!("there is no /{word}: /help lists what there is")),
    }
}

fn channels(house: &House) -> Reply {
    let channels = house.hub.channels();
    let mut text = format!("{RULE}\n");
    for (name, people) in &channels {
        let members = if people.len() == 1 { "member" } else { "members" };
        let lock = if name.has_pin() { " \u{1f512}" } else { "" };
        let _ = writeln!(text, "{name}{lock}  {} {members}", people.len());
        people.iter().for_each(|person| {
            let _ = writeln!(text, "    {person}");
        });
    }
    text.push_str(RULE);
    let rows = channels
        .iter()
        .map(|(name, people)| json!({"channel": name, "sealed": name.has_pin(), "people": people}));
    with(text, rows.collect())
}

fn stats(house: &House, brief: bool) -> Reply {
    let (hub, door) = (house.hub.stats(), house.door().stats());
    let data = json!({
        "version": env!("CARGO_PKG_VERSION"), "address": door.address.to_string(),
        "sessions": hub.sessions, "people": hub.people, "channels": hub.channels,
        "lines": hub.lines, "uptime_ms": hub.uptime_ms,
        "connections": door.connections, "connections_max": door.connections_max,
        "unauthenticated": door.unauthenticated, "evicted": door.evicted,
        "logins": door.logins, "login_failures": door.failures, "key_requests": door.asked, "refused": door.refused,
        "busy": door.busy, "rsa_operations": door.rsa,
    });
    let up_s = hub.uptime_ms / 1000;
    let text = if brief {
        format!(
            "up {}, {} people in {} sessions, {} of {} connections",
            TimeSpan::from_s(up_s).map_or("0s".to_owned(), |up| up.to_string()),
            hub.people,
            hub.sessions,
            door.connections,
            door.connections_max
        )
    } else {
        let rows = data.as_object().into_iter().flatten();
        let shown = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let rows = rows.map(|(name, value)| format!("{name:<18} {}", shown(value)));
        rows.collect::<Vec<_>>().join("\n")
    };
    with(text, data)
}

/// Whether the parts that everybody needs do their work.
fn health(house: &House) -> Reply {
    let mut parts = vec![("door", house.door().is_open())];
    parts.extend(house.ledger_answers(HEALTH_PATIENCE));
    parts.extend([
        ("storage", !house.hub.counters().is_failing()),
        ("audit", house.records.are_current()),
        ("log", server_log::is_read()),
    ]);
    let ill: Vec<_> = parts.iter().filter(|(_, well)| !well).map(|(name, _)| *name).collect();
    let text = match ill.is_empty() {
        true => "healthy".to_owned(),
        false => format!("not healthy: {}", ill.join(", ")),
    };
    let data: serde_json::Map<_, _> =
        parts.iter().map(|(name, well)| ((*name).to_owned(), (*well).into())).collect();
    Reply { ok: ill.is_empty(), ..with(text, data.into()) }
}

/// What is wrong where a thread that everybody needs does not answer. Whether the disk takes lines is
/// not in it: another start would not change that.
pub fn threads_answer(house: &House) -> Result<(), String> {
    let health = health(house);
    let threads = ["door", "ledger", "history", "search", "replay"];
    match threads.iter().all(|part| health.data[part] == true) {
        true => Ok(()),
        false => Err(health.text),
    }
}

fn users(house: &House) -> Reply {
    // Who was registered a moment ago counts.
    if let Err(error) = house.reload_users() {
        return no(&format!("users/ cannot be read: {error}"));
    }
    let here = house.hub.people();
    let mut text = String::new();
    let mut rows = Vec::new();
    for name in house.users().names() {
        let mut devices: Vec<_> =
            here.iter().filter(|one| one.0 == *name).map(|one| one.1.as_str()).collect();
        devices.sort_unstable();
        let state = if devices.is_empty() { "away".to_owned() } else { devices.join(", ") };
        let _ = writeln!(text, "{name:<20} {state}");
        rows.push(json!({"name": name, "devices": devices}));
    }
    if rows.is_empty() {
        text.push_str("nobody is registered: pychat users add LINE");
    }
    with(text.trim_end().to_owned(), rows.into())
}

fn say(house: &House, actor: &Actor, word: &str, rest: &[String]) -> Reply {
    let text = match moderation::words(house, rest) {
        Ok(Some(text)) => text,
        Ok(None) => return misused(&format!("say what? {word} TEXT")),
        Err(problem) => return problem,
    };
    match actor.whom {
        Some(_) => house.hub.notice_all(&format!("{} announces: {text}", actor.name)),
        None => house.hub.notice_all(&text),
    }
    house.record(&actor.did(word));
    yes("said")
}

fn motd(house: &House, actor: &Actor, rest: &[String]) -> Reply {
    let text = match moderation::words(house, rest) {
        Ok(Some(text)) => text,
        Ok(None) => {
            return match house.motd() {
                Some(motd) => yes(&motd),
                None => yes("there is no message of the day: motd TEXT sets it"),
            };
        }
        Err(problem) => return problem,
    };
    let text = if text == "-" { String::new() } else { text };
    let said = if text.is_empty() { "there is no message of the day now" } else { "it is set" };
    match house.decided.decide(|decisions| decisions.motd = Some(text)) {
        Ok(()) => {
            house.record(&actor.did("motd"));
            yes(said)
        }
        Err(error) => no(&error.to_string()),
    }
}

fn retention(house: &House, actor: &Actor, rest: &[String]) -> Reply {
    let dry = match rest.first().map(|word| word.trim_start_matches('-')) {
        None => {
            let config = house.config();
            let rules = config.channels.iter().map(|(name, rules)| (name, rules.retention));
            let rows: Vec<_> = rules.map(|(name, kept)| format!("{name:<20} {kept}")).collect();
            let all = config.retentions().of(&Place::Channel(ChannelName::lobby()));
            let text = format!("{:<20} {all}\n{}", "everything else", rows.join("\n"));
            let data = json!({"retention": config.retention, "channels": config.channels});
            return with(text.trim_end().to_owned(), data);
        }
        Some("dry-run") => true,
        Some("now") => false,
        Some(_) => return misused("retention, retention dry-run or retention now"),
    };
    let now_ms = jiff::Timestamp::now().as_millisecond();
    match sweep(house, now_ms, dry) {
        Some(Ok(swept)) => {
            if !dry {
                house.sweeps_by_hand();
                house.record(&actor.did("retention"));
                house.expire_audit(now_ms);
            }
            let did = if dry { "would be removed" } else { "were removed" };
            let Swept { lines, places, remains, .. } = swept;
            let mut text = format!("{lines} lines of {places} places {did}");
            if remains {
                text.push_str(REMAINS);
            }
            let data =
                json!({"lines": lines, "places": places, "dry_run": dry, "remains": remains});
            Reply { ok: !remains, ..with(text, data) }
        }
        Some(Err(error)) => no(&error.to_string()),
        None => no("the server stops"),
    }
}

/// Removes what is too old, and waits a while for whoever reads beside.
fn sweep(house: &House, now_ms: i64, dry: bool) -> Option<Result<Swept, LedgerError>> {
    let deadline = Instant::now() + READ_TIME;
    let mut all = Swept::default();
    loop {
        match house.sweep_ledger(now_ms, dry)? {
            Ok(swept) => {
                all.lines += swept.lines;
                all.places = all.places.max(swept.places);
                all.remains = swept.remains;
            }
            Err(error) => return Some(Err(error)),
        }
        if !all.remains || Instant::now() >= deadline {
            return Some(Ok(all));
        }
        thread::sleep(READ_PAUSE);
    }
}

fn erase(house: &House, actor: &Actor, rest: &[String]) -> Reply {
    let Some(name) = rest.first().and_then(|name| name.parse::<UserName>().ok()) else {
        return misused("whose lines? erase NAME");
    };
    // Who was removed a moment ago says nothing more once the lines are looked for.
    if let Err(error) = house.reload_users() {
        return no(&format!("users/ cannot be read: {error}"));
    }
    let name = house.find(&name).unwrap_or(name);
    let deadline = Instant::now() + LEAVE_TIME;
    let is_here = || house.hub.people().iter().any(|(person, ..)| *person == name);
    while house.find(&name).is_none() && is_here() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let erased = {
        let name = name.clone();
        house.ask_ledger(move |ledger| ledger.erase(&name))
    };
    match erased {
        Some(Ok(lines)) => {
            house.recount_mailboxes();
            house.record(&Decision { target: name.as_str(), ..actor.did("erase") });
            let text = format!("{lines} lines of {name} were erased");
            with(text, json!({"lines": lines}))
        }
        Some(Err(error)) => no(&error.to_string()),
        None => no("the server stops"),
    }
}

fn shutdown(house: &House, actor: &Actor, rest: &[String]) -> Reply {
    if rest.first().is_some_and(|text| text == "-") {
        house.record(&Decision { target: "taken back", ..actor.did("shutdown") });
        house.stop().forget_time();
        house.hub.notice_all("the server does not stop now");
        return yes("a time that was named holds no more");
    }
    let delay = match rest.first().map(|text| delay(text)) {
        None => Duration::ZERO,
        Some(Some(delay)) => delay,
        Some(None) => return misused("a delay is written 10s, 5m or 1h"),
    };
    let target = format!("in {} s", delay.as_secs());
    house.record(&Decision { target: &target, ..actor.did("shutdown") });
    if delay.is_zero() {
        house.stop().tell();
        return yes("stopping");
    }
    house.hub.notice_all(&format!("the server stops in {} s", delay.as_secs()));
    house.stop().tell_after(delay);
    yes(&format!("stopping in {} s", delay.as_secs()))
}

/// `10s`, `5m`, `1h`; a bare number is seconds. At most a day.
fn delay(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let count: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    let seconds = count.checked_mul(unit).filter(|seconds| *seconds <= 24 * 3600)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_units() {
        for (text, seconds) in [("10", 10), ("10s", 10), ("5m", 300), ("1h", 3600), ("24h", 86_400)]
        {
            assert_eq!(delay(text), Some(Duration::from_secs(seconds)));
        }
        for bad in ["", "s", "10x", "1d", "-1", "+1", "1ss", "25h", "99999999999999999999"] {
            assert_eq!(delay(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mistyped_word_gets_the_nearest() {
        assert!(unknown("chanels").text.contains("/channels"));
        assert!(unknown("xyzzy").text.contains("/help"));
    }
}
