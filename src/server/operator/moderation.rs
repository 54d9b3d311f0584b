//! The operators' commands about users: kick, ban, mute, roles. Each is checked against the table
//! of rights and stored on disk. Revocations apply to live sessions before that.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;

use super::super::context::Context;
use super::super::decisions::{DISK_PATIENCE, Saved};
use super::call::{Actor, Call};
use super::ranges::{household_hint, question};
use super::reply::{Reply, failed, misused, no, unconfirmed, unread, unwritten, with, yes};
use crate::chat::rights::{Role, least_against, may_against, who_may};
use crate::chat::{Code, Event, TimeSpan, UserName};
use crate::clean;
use crate::crypto::Fingerprint;
use crate::home::sanctions::{Kind, Sanction, Subject, Whom};
use crate::home::{Decision, Rest, Settings};

/// The arguments of a sanction.
struct Saying {
    subject: Subject,
    until_ms: Option<i64>,
    reason: Option<String>,
}

/// A result, or the refusal.
type Said<T> = Result<T, Reply>;

/// Returns a reason as one clean line of bounded length.
pub fn words(context: &Context, rest: &[String]) -> Said<Option<String>> {
    let text = clean::line(&rest.join(" ")).trim().to_owned();
    let bytes_max = context.config.get().limits.topic_bytes_max;
    match text.len() {
        0 => Ok(None),
        bytes if bytes > bytes_max => {
            Err(misused(&format!("{bytes} bytes are too long: {bytes_max} may be")))
        }
        _ => Ok(Some(text)),
    }
}

pub fn kick(call: &Call) -> Reply {
    let (context, actor) = (call.context, call.actor);
    answer((|| {
        let subject = subject(call)?;
        let reason = words(context, &call.operands[1..])?;
        check(call, &subject)?;
        let text = with_reason(&format!("{} ended your session", actor.title()), reason.as_deref());
        let farewell = with_reason(&format!("kicked by {}", actor.title()), reason.as_deref());
        let ended = context.access.end_subject(&subject, Code::Kicked, &text, Some(&farewell));
        if ended == 0 {
            return Err(no(&format!("{subject} is not here")));
        }
        let target = subject.to_string();
        context.records.record(&Decision {
            target: &target,
            reason: reason.as_deref(),
            ..call.done()
        });
        let text = format!("{subject} is out ({})", sessions(ended));
        Ok(with(text, json!({"sessions": ended})))
    })())
}

pub fn sanction(call: &Call, kind: Kind) -> Reply {
    let (context, actor) = (call.context, call.actor);
    answer((|| {
        let Saying { subject, until_ms, reason } = saying(call)?;
        check(call, &subject)?;
        if let (false, Some(question)) = (call.is_confirmed, question(call, kind, &subject)) {
            return Err(unconfirmed(question));
        }
        let since_ms = now_ms();
        let max = context.config.get().limits.sanctions_max;
        if context.decided.now().valid(since_ms).count() >= max {
            let text = format!(
                "{max} bans and mutes are in force, which is the limit (sanctions_max): lift some first"
            );
            return Err(failed(&text, "pychat ctl banlist lists bans and mutes"));
        }
        let (by, rank) = (actor.name.clone(), actor.role.min(Role::Owner));
        let about = subject.clone();
        let sanction =
            Sanction { number: 0, kind, subject: about, reason, by, rank, since_ms, until_ms };
        let kept = sanction.clone();
        let time_ms = context.clock.time_ms();
        let (added, rest) =
            context.decided.decide(move |decisions| decisions.add(kept, actor.role, time_ms));
        added.map_err(|stands| no(&stands.to_string()))?;
        // Nothing before this waits for the disk.
        let count = apply_to_sessions(context, actor, &sanction);
        let (target, reason) = (subject.to_string(), sanction.reason.as_deref());
        context.records.record(&Decision { target: &target, reason, until_ms, ..call.done() });
        let (done, explained) = (kind.done(), sanction.explain());
        let mut text = format!("{subject} is {done} {explained} ({})", sessions(count));
        text.push_str(&household_hint(&subject));
        let data = json!({"sessions": count, "until_ms": until_ms});
        Ok(revoked(with(text, data), write(context, rest)))
    })())
}

pub fn lift(call: &Call, kind: Kind) -> Reply {
    let context = call.context;
    answer((|| {
        let subject = match numbered(call, kind)? {
            Some(subject) => subject,
            None => subject(call)?,
        };
        let role = call.actor.role;
        let time_ms = context.clock.time_ms();
        let (lifted, rest) =
            context.decided.decide(|decisions| decisions.lift(kind, &subject, role, time_ms));
        if !lifted.map_err(|stands| no(&stands.to_string()))? {
            return Err(no(&format!("{subject} is not {}: banlist shows who is", kind.done())));
        }
        let text = format!("{subject} is no longer {}", kind.done());
        granted(&text, write(context, rest))?;
        context.records.record(&Decision { target: &subject.to_string(), ..call.done() });
        if kind == Kind::Mute {
            context.access.notify_subject(&subject, "you are no longer muted");
        }
        Ok(yes(&text))
    })())
}

pub fn list(context: &Context) -> Reply {
    let decisions = context.decided.now();
    let mut text = String::new();
    for one in decisions.valid(now_ms()) {
        let _ = writeln!(
            text,
            "{:>3}  {} is {} by {} {}",
            one.number,
            one.subject,
            one.kind.done(),
            one.by,
            one.explain()
        );
    }
    if text.is_empty() {
        text.push_str("nobody is banned or muted");
    }
    let rows: Vec<_> = decisions.valid(now_ms()).collect();
    with(text.trim_end().to_owned(), json!(rows))
}

/// Notifies operators that a member has used up the budget of new channels with a PIN, which may be
/// an attempt to guess PINs. Of later refusals it reports the tenth, the hundredth and so on, so
/// that the log does not grow with them.
pub fn note_pin_joins(context: &Context, user: &UserName, max: usize, refused: u32) {
    if refused == 0 || refused != 10_u32.pow(refused.ilog10()) {
        return;
    }
    let reason = format!("{max} channels with a PIN joined in an hour, {refused} refused since");
    let text = format!("{user} may be trying PINs: {reason}");
    log::warn!("{text}");
    let (actor, action, target) = ("server", "pin joins", user.as_str());
    context.records.record(&Decision {
        actor,
        action,
        target,
        reason: Some(&reason),
        until_ms: None,
    });
    let users = context.accounts.get();
    let event = Event::Notice { text, reference: None };
    for (name, queue) in context.hub.sessions() {
        if users.role(&name) >= Role::Moderator {
            context.hub.delivery.answer(&queue, &event);
        }
    }
}

/// Makes a user a moderator once it is on disk, or a member again at once.
pub fn give_role(call: &Call, role: Role) -> Reply {
    let context = call.context;
    answer((|| {
        let Subject::User(name) = subject(call)? else { return Err(call.asks("whom?")) };
        let revokes = role < context.accounts.get().role(&name);
        if !revokes {
            // A role that was just changed counts.
            context.accounts.reload().map_err(|error| unread(&error))?;
        }
        match context.accounts.get().role(&name) {
            own if own == role => return Err(no(&format!("{name} is {role} already"))),
            Role::Owner => {
                let hint = format!("pychat users role {name} {role}");
                return Err(no(&format!("{name} is owner here, which only {hint} changes")));
            }
            _ => check(call, &Subject::User(name.clone()))?,
        }
        let whom = Subject::User(name.clone());
        let (notice, text) = (format!("you are {role} here now"), format!("{name} is {role} now"));
        if revokes {
            context.accounts.get().demote(&name);
            context.access.notify_subject(&whom, &notice);
            context.records.record(&Decision { target: name.as_str(), ..call.done() });
            return Ok(revoked(yes(&text), write_role(context, &name, role)));
        }
        granted(&text, write_role(context, &name, role))?;
        context.accounts.get().promote(&name);
        context.accounts.reload().map_err(|error| unread(&error))?;
        context.records.record(&Decision { target: name.as_str(), ..call.done() });
        context.access.notify_subject(&whom, &notice);
        Ok(yes(&text))
    })())
}

fn write_role(context: &Context, name: &UserName, role: Role) -> Saved {
    let (dir, name) = (context.home.users_dir(), name.clone());
    context.decisions.write(move || Settings::change(&dir, &name, |settings| settings.role = role))
}

/// Writes a decision, and waits for it for a while.
pub fn write(context: &Context, rest: Rest) -> Saved {
    let decided = Arc::clone(&context.decided);
    context.decisions.write(move || decided.write(&rest))
}

/// Returns the answer to a revocation, which is in force whether it is on disk or not.
fn revoked(done: Reply, saved: Saved) -> Reply {
    let (failure, why) = match saved {
        Saved::Yes => return done,
        Saved::Failed(error) => {
            (unwritten(&error), format!("until the server's next start only: {error}"))
        }
        Saved::Late => (late(&done.text), "but not on disk yet: a restart now undoes it".into()),
    };
    Reply { text: format!("{}, {why}", done.text), data: done.data, ..failure }
}

/// Refuses a decision that is not on disk, and so not in force.
pub fn granted(text: &str, saved: Saved) -> Said<()> {
    match saved {
        Saved::Yes => Ok(()),
        Saved::Failed(error) => Err(unwritten(&error)),
        Saved::Late => Err(late(text)),
    }
}

fn late(text: &str) -> Reply {
    let seconds = DISK_PATIENCE.as_secs();
    let text = format!("{text} once the disk answers: it has not for {seconds} s");
    failed(&text, "check the disk of the server's home; pychat ctl health shows when it answers")
}

/// Ends the sessions that match a ban, or notifies those that match a mute. Returns their number.
fn apply_to_sessions(context: &Context, actor: &Actor, sanction: &Sanction) -> usize {
    let (subject, text) = (&sanction.subject, sanction.notice());
    let farewell = with_reason(&format!("banned by {}", actor.title()), sanction.reason.as_deref());
    match sanction.kind {
        Kind::Ban => {
            // Users who are admitted again have to prove the password, as at a first login.
            let holds = |user: &UserName, key: &Fingerprint| {
                subject.holds(Whom { user, key: *key, address: None })
            };
            context.passwords.tickets.lock().forget(holds);
            context.access.end_subject(subject, Code::Banned, &text, Some(&farewell))
        }
        Kind::Mute => context.access.notify_subject(subject, &text),
    }
}

fn sessions(count: usize) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}

fn with_reason(what: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn answer(said: Said<Reply>) -> Reply {
    said.unwrap_or_else(|why| why)
}

/// Parses `WHOM [TIME] [REASON]`. A word that starts with a digit is a time, and an invalid one is
/// refused, so that a typing error does not make a ban permanent.
fn saying(call: &Call) -> Said<Saying> {
    let (context, subject) = (call.context, subject(call)?);
    let after = &call.operands[1..];
    let timed = after
        .first()
        .filter(|text| text.trim_start_matches(['+', '-', '.', ',']).starts_with(char::is_numeric));
    let Some(text) = timed else {
        return Ok(Saying { subject, until_ms: None, reason: words(context, after)? });
    };
    let span: TimeSpan = text
        .parse()
        .map_err(|error| misused(&format!("{}: {error}: nothing was done", clean::line(text))))?;
    let until_ms = Some(now_ms() + span.as_ms());
    Ok(Saying { subject, until_ms, reason: words(context, &after[1..])? })
}

/// Parses the first word, with a registered name in its own spelling.
fn subject(call: &Call) -> Said<Subject> {
    let text = call.operands.first().ok_or_else(|| call.asks("whom?"))?;
    match text.parse::<Subject>().map_err(|error| misused(&error.to_string()))? {
        Subject::User(name) => Ok(Subject::User(call.context.accounts.find(&name).unwrap_or(name))),
        other => Ok(other),
    }
}

/// Returns the subject of the ban or the mute with the number in the first word. `None` if the word
/// is no number, or is the name of a user who is registered, banned or muted.
fn numbered(call: &Call, kind: Kind) -> Said<Option<Subject>> {
    let context = call.context;
    let Some(word) = call.operands.first() else { return Ok(None) };
    let Ok(number) = word.parse::<u64>() else { return Ok(None) };
    let (now_ms, decisions) = (now_ms(), context.decided.now());
    if let Ok(subject @ Subject::User(_)) = word.parse::<Subject>() {
        let Subject::User(name) = &subject else { return Ok(None) };
        let is_sanctioned = decisions.valid(now_ms).any(|one| one.subject == subject);
        if is_sanctioned || context.accounts.find(name).is_some() {
            return Ok(None);
        }
    }
    match decisions.numbered(number, now_ms) {
        Some(one) if one.kind == kind => Ok(Some(one.subject.clone())),
        Some(one) => {
            let (subject, done) = (&one.subject, one.kind.done());
            Err(no(&format!("number {number} is not a {}: {subject} is {done}", kind.word())))
        }
        None => Err(no(&format!("there is no number {number}: banlist shows the numbers"))),
    }
}

/// Checks whether an actor has the right to do this to all users whom the subject matches, and
/// excludes the actor.
fn check(call: &Call, subject: &Subject) -> Said<()> {
    let (context, actor, act) = (call.context, call.actor, call.command.act);
    if actor.whom.is_some_and(|own| subject.holds(own)) {
        return Err(no(&format!("that is you: nobody can {} himself", act.word())));
    }
    let users = context.accounts.get();
    let held: Vec<UserName> = match subject {
        Subject::User(name) => match users.find(name) {
            Some(name) => vec![name.clone()],
            None => return Err(no(&format!("nobody is registered as {name}"))),
        },
        Subject::Key(print) => {
            users.by_print(print).into_iter().map(|(_, name)| name.clone()).collect()
        }
        Subject::Range(_) => Vec::new(),
    };
    let here = context.hub.sessions().into_iter();
    let here = here.filter(|(user, queue)| {
        subject.holds(Whom { user, key: queue.key, address: Some(queue.address()) })
    });
    for name in held.into_iter().chain(here.map(|(user, _)| user)) {
        let role = users.role(&name);
        if !may_against(actor.role, role, act) {
            let own = actor.role;
            let whom = match least_against(role, act) {
                Some(least) => who_may(least).to_owned(),
                None => format!(
                    "nobody may {} an owner: pychat users role changes the role",
                    act.word()
                ),
            };
            return Err(no(&format!("{name} is {role} here: not allowed for a {own}; {whom}")));
        }
    }
    Ok(())
}
