//! Notices about changed keys, and the text of `/fingerprint NAME`. Pure.

use super::trust::{Learned, Prints, TrustStore, safety_number};
use crate::chat::UserName;
use crate::chat::look::{Alike, odd_letters};
use crate::crypto::Fingerprint;

pub const LIMIT_REACHED: &str = "so many users are known here, or listed by the server, that no more are pinned on first use: \
     messages of others are not shown before you write to them or type /fingerprint NAME. Unless \
     there are thousands of users here, do not trust this server";

/// The notice about a changed key list, if one is due.
pub fn change_notice(name: &UserName, learned: &Learned, own: &UserName) -> Option<String> {
    let is_own = name == own;
    let whose = if is_own { "your".to_owned() } else { format!("{name}'s") };
    let mut told = Vec::new();
    let alike = learned.alike.as_ref().filter(|_| !learned.changed.is_empty());
    if let Some(alike) = alike {
        let named = describe_alike(name, alike, own);
        told.push(format!(
            "{named}. Its keys are not trusted at the first meeting: nothing is sealed for it and \
             none of its messages are shown. If this is another person whom you know: compare \
             /fingerprint {name} with them, then type /fingerprint {name} confirm. If not, do not \
             trust this server"
        ));
    }
    if let Some(other) = learned.similar.as_ref().filter(|_| !is_own) {
        told.push(format!(
            "you meet {name} for the first time: the name is similar to {other}, whom you know. \
             Compare /fingerprint {name} if you took one for the other"
        ));
    }
    if !learned.changed.is_empty() && alike.is_none() {
        let prints = list(&learned.changed);
        let what = match is_own {
            true => format!("a key of another device is registered for your name: {prints}"),
            false => {
                format!("a key that was not there before is registered for {name}: {prints}")
            }
        };
        told.push(format!(
            "{what}. Nothing is sealed for it and none of its messages are shown until you have \
             compared /fingerprint {name} and typed /fingerprint {name} confirm"
        ));
    }
    // The login has already warned about the user's other name.
    for (print, owner) in learned.anothers.iter().filter(|_| !is_own) {
        told.push(format!(
            "the server lists {owner}'s key {print} as {whose} key: it is not accepted. If the \
             operator has renamed {owner} to {name}: compare /fingerprint {name}, then type \
             /fingerprint {name} confirm. If not, do not trust this server"
        ));
    }
    if !learned.retired.is_empty() {
        told.push(format!(
            "the server no longer lists {whose} key {}: nothing is sealed for it and no new message \
             by it is shown. If the server lists it again, it waits for your confirmation",
            list(&learned.retired)
        ));
    }
    (!told.is_empty()).then(|| told.join(". "))
}

/// Describes the look-alike because of which a user was not pinned.
pub fn looks_like(name: &UserName, trust: &TrustStore, own: &UserName) -> Option<String> {
    Some(describe_alike(name, &trust.alike(name)?, own))
}

/// The safety number covers the keys in use, so that it is the same for a user who was pinned under
/// an older key. Of the own keys it covers the confirmed ones.
pub fn describe(name: &UserName, trust: &mut TrustStore, me: &UserName) -> String {
    let (own, Prints { theirs, news, gone }) = (trust.prints(me), trust.shows(name));
    let in_use = [&theirs[..], &news].concat();
    let alike = looks_like(name, trust, me).filter(|_| !in_use.is_empty());
    let mut text = alike.map_or(String::new(), |alike| format!("{alike}\n"));
    if in_use.is_empty() {
        text = format!("no user is called {name}\n");
    } else if name != me {
        let number = safety_number(&own.theirs, &in_use);
        text.push_str(&format!(
            "compare this with {name}, over the phone or face to face; it is the same on both \
             sides only if nobody is between you:\n{number}\n"
        ));
        if !own.news.is_empty() {
            text.push_str(&format!(
                "it is another one there until you have confirmed your own name's keys: \
                 /fingerprint {}\n",
                me
            ));
        }
    }
    let whose = if name == me { "yours" } else { "theirs" };
    theirs.iter().for_each(|print| text.push_str(&format!("{name}: {print}\n")));
    for print in &news {
        let what = match trust.other_owner(name, print) {
            Some(owner) => format!("is {owner}'s, as far as you know"),
            None => "is new".to_owned(),
        };
        text.push_str(&format!(
            "{name}: {print} {what}: /fingerprint {name} confirm, if it is {whose}\n"
        ));
    }
    for print in &gone {
        text.push_str(&format!(
            "{name}: {print} is not in use any more; old messages are signed by it\n"
        ));
    }
    text.trim_end().to_owned()
}

/// The two names, and the characters in which they differ.
fn describe_alike(name: &UserName, alike: &Alike, own: &UserName) -> String {
    let (other, is) = match alike {
        Alike::Person(other) if other == own => (other.as_str(), "your own name"),
        Alike::Person(other) => (other.as_str(), "whom you know"),
        Alike::Word(word) => (*word, "a word that names no person"),
    };
    let odd = odd_letters(name, other);
    let with = if odd.is_empty() { odd } else { format!(" (with {odd})") };
    format!("the name {name}{with} looks like {other}, {is}, and is another name")
}

pub fn list(prints: &[Fingerprint]) -> String {
    let prints: Vec<_> = prints.iter().map(ToString::to_string).collect();
    prints.join(" ")
}
