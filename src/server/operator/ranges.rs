//! Bans and mutes of address ranges: the question before them, and the hint after them.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::call::Call;
use crate::chat::UserName;
use crate::chat::rights::Role;
use crate::config::IpRange;
use crate::home::sanctions::{Kind, Subject};

/// A range with a shorter prefix is broad: more than a /16, which has 65,536 addresses, or more
/// than a /32, the least that an IPv6 provider gets.
const BROAD_V4_BITS: u8 = 16;
const BROAD_V6_BITS: u8 = 32;

/// The prefix of the IPv6 network of one household, whose computers choose addresses in it freely.
const HOUSEHOLD_BITS: u8 = 64;

/// Operators that a question names.
const NAMED_MAX: usize = 5;

/// Returns a hint after a sanction of a part of an IPv6 /64, such as one address: the computer can
/// use other addresses of the /64.
pub fn household_hint(subject: &Subject) -> String {
    match subject {
        Subject::Range(range) if range.network.is_ipv6() && range.prefix_bits > HOUSEHOLD_BITS => {
            let household = IpRange::around(range.network, HOUSEHOLD_BITS);
            format!("; its computer can use every address of {household}: name this range instead")
        }
        _ => String::new(),
    }
}

/// Returns the question before a sanction of many people, or of operators. Only the question to the
/// server's own account has names and the number of users.
pub fn question(call: &Call, kind: Kind, subject: &Subject) -> Option<String> {
    let Subject::Range(range) = subject else { return None };
    let (context, role) = (call.context, call.actor.role);
    let users = context.accounts.get();
    let mut affected: BTreeSet<UserName> = match context.config.get().log_ip {
        true if role >= Role::Owner => {
            context.admission.recent_users_in(range).into_iter().collect()
        }
        _ => BTreeSet::new(),
    };
    let here = context.hub.sessions().into_iter();
    let here = here.filter(|(_, queue)| range.contains(queue.address()));
    affected.extend(here.map(|(user, _)| user));
    affected.retain(|name| users.find(name).is_some());
    let least_bits = if range.network.is_ipv4() { BROAD_V4_BITS } else { BROAD_V6_BITS };
    let operators: Vec<_> =
        affected.iter().filter(|name| users.role(name) >= Role::Moderator).collect();
    let shared = context.admission.shared_in(range);
    if range.prefix_bits >= least_bits && operators.is_empty() && shared.is_none() {
        return None;
    }
    let done = kind.done();
    let mut question = match range.addresses() {
        Some(1) => format!("{range} would be {done}"),
        Some(count) => format!("{count} addresses would be {done} ({range})"),
        None => format!("all IPv6 addresses would be {done}"),
    };
    if let Some(shared) = shared {
        let _ = write!(question, "; many people share {shared} in this range, as through a proxy");
    }
    if role < Role::Console {
        question.push_str(if operators.is_empty() { "" } else { "; operators connect from there" });
        return Some(question);
    }
    if !affected.is_empty() {
        let _ = write!(question, "; {} users connect from there", affected.len());
    }
    if !operators.is_empty() {
        let names: Vec<_> = operators.iter().take(NAMED_MAX).map(|name| name.as_str()).collect();
        let more = if operators.len() > NAMED_MAX { " and others" } else { "" };
        let _ = write!(question, ", operators among them: {}{more}", names.join(", "));
    }
    Some(question)
}
