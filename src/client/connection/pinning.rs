//! Resolution of an invite to a server. Only a pinned key, or a verified predecessor of one,
//! identifies a known server: an invite can claim any founding key, and the claim needs signatures.

use std::time::Duration;

use crate::client::storage::data_folder::Server;
use crate::crypto::Fingerprint;
use crate::crypto::lineage::Lineage;
use crate::fault::{Fault, code};
use crate::invite::{Invite, InviteError};
use crate::net::dial_error::DialError;
#[cfg(not(target_family = "wasm"))]
use crate::net::tunnel::fetch_lineage;

/// Timeout for a server's answer about its lineage.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches the verified keys before the one in an invite.
pub type Ask<'a> = &'a dyn Fn(&Invite, &Fingerprint) -> Result<Lineage, DialError>;

/// Fetches them over the network.
#[cfg(not(target_family = "wasm"))]
pub fn ask(invite: &Invite, print: &Fingerprint) -> Result<Lineage, DialError> {
    Ok(fetch_lineage(&invite.host, invite.port, print, PATIENCE)?.1)
}

/// The server of an invite, with a notice about it.
#[derive(Debug, PartialEq)]
pub struct Pinned {
    pub server: Server,
    pub notice: Option<String>,
}

impl From<Server> for Pinned {
    fn from(server: Server) -> Pinned {
        Pinned { server, notice: None }
    }
}

/// Relation of a key and its verified lineage to the known servers.
#[derive(Debug, PartialEq)]
pub enum Relation<'a> {
    /// No known server has any of these keys.
    Unknown,
    /// The known server, and its new entry with this key: the key is one of its own, or follows the
    /// pinned one.
    Same { old: &'a Server, now: Server },
    /// The lineage contains a key of this known server without its pinned one.
    Fork(&'a Server),
}

/// Compares a key and its verified lineage with the known servers.
pub fn relation<'a>(key: &Fingerprint, lineage: &Lineage, known: &'a [Server]) -> Relation<'a> {
    let chain: Vec<Fingerprint> = lineage.prints().chain([*key]).collect();
    let pinned_at =
        |server: &Server| chain.iter().rposition(|print| server.fingerprint() == Some(*print));
    let related = || known.iter().filter(|it| chain.iter().any(|print| it.is_known_by(print)));
    if let Some(server) = related().find(|it| !it.is_known_by(key) && pinned_at(it).is_none()) {
        return Relation::Fork(server);
    }
    let Some(old) = related().max_by_key(|it| (it.is_known_by(key), pinned_at(it))) else {
        return Relation::Unknown;
    };
    let now = pinned_at(old).map_or_else(|| old.clone(), |at| old.along(&chain, at));
    Relation::Same { old, now }
}

/// Finds the server of an invite or an address. It must have a pinned key.
pub fn pin(text: &str, known: &[Server], ask: Ask) -> Result<Pinned, Fault> {
    let invite: Invite = text.parse().map_err(unusable)?;
    let met = at(&invite, known);
    let Some(print) = &invite.fingerprint else {
        let unknown = || {
            let error = format!("{}:{} is not known yet", invite.host, invite.port);
            let hint = "ask the operator for the invite: pychat://HOST:PORT/FINGERPRINT";
            Fault::new(code::USAGE, error, hint)
        };
        return met.cloned().map(Pinned::from).ok_or_else(unknown);
    };
    let same = known_by(print, known);
    let (host, port) = (invite.host.clone(), invite.port);
    match same {
        Some(server) if met.is_none_or(|met| met.founding() == server.founding()) => {
            // An invite from before a rotation, or with another address.
            if claims_nothing_new(&invite, server) {
                return Ok(server.at(host, port).into());
            }
        }
        // Naming one of a server's keys does not suffice to replace its entry.
        _ => {
            let claimed = || known_by(invite.founding.as_ref()?, known);
            if let Some(server) = met.or_else(claimed) {
                return Err(another_key(server, print, same));
            }
        }
    }
    let lineage = match ask(&invite, print) {
        Ok(lineage) => lineage,
        // The connection reports the error, retries, and verifies before anything is stored.
        Err(error) if invite.founding.is_none() && !matches!(error, DialError::Unsigned) => {
            Lineage::default()
        }
        Err(error) => return Err(unasked(&invite, &error)),
    };
    let server = match relation(print, &lineage, known) {
        Relation::Unknown => Server::new(host, port, print, None).after(&lineage),
        // Otherwise the trust stored under the first key would silently be abandoned.
        Relation::Same { old, now } if now.founding() != old.founding() => {
            return Err(earlier_key(old, print));
        }
        Relation::Same { old, now } if old.is_known_by(print) => now.at(host, port),
        Relation::Same { old, .. } => return Err(another_key(old, print, None)),
        Relation::Fork(server) => return Err(fork(server, print)),
    };
    let notice = invite.founding.filter(|claim| !server.is_known_by(claim)).map(|founding| {
        format!(
            "the invite claims that the server's first key was {founding}. The server did not \
             prove it: its key {print} counts as that of another server. If you trust the source \
             of the invite, ask the operator"
        )
    });
    Ok(Pinned { server, notice })
}

/// Returns whether the invite's claim about the founding key needs no verification for a known
/// server.
pub fn claims_nothing_new(invite: &Invite, server: &Server) -> bool {
    invite.founding.is_none_or(|founding| server.is_known_by(&founding))
}

/// The known server at an invite's address.
pub fn at<'a>(invite: &Invite, known: &'a [Server]) -> Option<&'a Server> {
    known.iter().find(|server| server.is_at(&invite.host, invite.port))
}

/// The known server that has or had this key.
pub fn known_by<'a>(print: &Fingerprint, known: &'a [Server]) -> Option<&'a Server> {
    known.iter().find(|server| server.is_known_by(print))
}

/// The error for an invite whose key is not the pinned one; `same` is another server with that key.
fn another_key(server: &Server, print: &Fingerprint, same: Option<&Server>) -> Fault {
    let pinned = server.fingerprint().map_or_else(String::new, |print| print.to_string());
    let whose = same.map(|same| format!(" (the key of {}:{})", same.host, same.port));
    let error = format!(
        "the server of {}:{} is known by another key\n  pinned  {pinned}\n  invite  {print}{}",
        server.host,
        server.port,
        whose.unwrap_or_default()
    );
    let hint = "ask the operator whether the key changed; if it did: pychat trust and this invite";
    Fault::new(code::WRONG_SERVER, error, hint)
}

/// The error for a lineage that leaves that of a known server before its pinned key.
pub fn fork(server: &Server, print: &Fingerprint) -> Fault {
    let pinned = server.fingerprint().map_or_else(String::new, |print| print.to_string());
    let error = format!(
        "the key of this invite follows a former key of the server of {}:{}, and not its pinned key\n  \
         pinned  {pinned}\n  invite  {print}",
        server.host, server.port
    );
    let hint = "nothing was changed: the former key was stolen, and one of the two keys belongs \
                to the thief. Ask the operator, in person, to read the server's key aloud. If it \
                is the key of this invite: pychat trust and this invite, in a terminal";
    Fault::new(code::WRONG_SERVER, error, hint)
}

/// The error for a lineage that begins before the first known key of a server.
fn earlier_key(server: &Server, print: &Fingerprint) -> Fault {
    let error = format!(
        "the invite claims that the server of {}:{}, whose key is {print}, had a key before the \
         first one that is known here",
        server.host, server.port
    );
    let hint = "nothing was changed. The users and PIN channels that you know there belong to \
                the first known key: ask the operator, and if the claim is right, use pychat \
                trust and this invite";
    Fault::new(code::WRONG_SERVER, error, hint)
}

/// The error for a lineage that could not be fetched, or was forged.
pub fn unasked(invite: &Invite, error: &DialError) -> Fault {
    if matches!(error, DialError::Unsigned) {
        let error = format!("{}:{}: {error}", invite.host, invite.port);
        let hint = "nothing was changed: do not use this invite, and ask the operator";
        return Fault::new(code::WRONG_SERVER, error, hint);
    }
    let error =
        format!("the earlier keys of {}:{} cannot be fetched: {error}", invite.host, invite.port);
    Fault::new(
        code::UNREACHABLE,
        error,
        "nothing was changed: try again when the server is running",
    )
}

pub fn unusable(error: InviteError) -> Fault {
    let hint = "paste the whole pychat:// line";
    Fault::new(code::USAGE, error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;
    use crate::crypto::lineage::FormerKey;
    use crate::crypto::succession::{Succession, Whose};
    use crate::crypto::test_keys::spare;

    fn print(key: &Identity) -> Fingerprint {
        key.public().fingerprint()
    }

    fn line(host: &str, prints: &[&Fingerprint]) -> String {
        let prints: Vec<_> = prints.iter().map(|print| print.to_url()).collect();
        format!("pychat://{host}:5000/{}", prints.join("/"))
    }

    fn nobody(_: &Invite, _: &Fingerprint) -> Result<Lineage, DialError> {
        Err(DialError::Silent)
    }

    #[test]
    fn an_old_invite_resolves_and_a_claim_does_not() {
        let [one, two, other] = [1, 2, 3].map(|number| Fingerprint([number; 32]));
        let name = Some("carol".parse().unwrap());
        let server = Server::new("host".into(), 5000, &one, name).succeeded_by(&two);
        let known = std::slice::from_ref(&server);
        let pin = |host: &str, prints: &[&Fingerprint]| pin(&line(host, prints), known, &nobody);
        for prints in [&[&one][..], &[&two], &[&two, &one]] {
            assert_eq!(pin("host", prints).unwrap().server, server);
        }
        let moved = server.at("new.host".into(), 5000);
        assert_eq!(pin("new.host", &[&one]).unwrap().server, moved);
        for (host, prints) in
            [("host", &[&other][..]), ("host", &[&other, &one]), ("evil.host", &[&other, &one])]
        {
            let error = pin(host, prints).unwrap_err().error;
            assert!(
                error.contains(&two.to_string()) && error.contains(&other.to_string()),
                "{error}"
            );
        }
        // Another spelling of the address is the same address.
        for host in ["HOST", "host.", "Host."] {
            assert!(pin(host, &[&other]).is_err(), "{host}");
        }
        let met = super::pin(&line("other.host", &[&other]), known, &|_, _| Ok(Lineage::default()));
        assert_eq!(met.unwrap().server.founding(), Some(other));
    }

    #[test]
    fn an_unproven_claim_blocks_no_server() {
        let [real, next, evil] = [0, 1, 2].map(spare);
        let succession = Succession::sign(&real, Whose::Server, &next);
        let links = vec![FormerKey { key: real.public().clone(), succession }];
        let lineage = Lineage::verify(links, next.public()).unwrap();
        let [real, next, evil] = [&real, &next, &evil].map(print);
        // The thief's server proves nothing; the real one proves its lineage.
        let ask = |_: &Invite, print: &Fingerprint| {
            Ok(if *print == next { lineage.clone() } else { Lineage::default() })
        };
        let lured = pin(&line("evil", &[&evil, &real]), &[], &ask).unwrap();
        let told = lured.notice.unwrap();
        assert!(told.contains(&evil.to_string()) && told.contains(&real.to_string()), "{told}");
        assert_eq!(lured.server.founding(), Some(evil));
        let known = [lured.server];
        for prints in [&[&real][..], &[&next, &real]] {
            let met = pin(&line("host", prints), &known, &ask).unwrap();
            assert_eq!((met.server.founding(), met.notice), (Some(real), None));
        }
        let met = pin(&line("host", &[&next, &real]), &known, &ask).unwrap().server;
        assert!(met.is_known_by(&real) && met.fingerprint() == Some(next));
        // Once the real server is known, neither the thief nor another server at the thief's
        // address is accepted.
        let known = [met];
        assert!(pin(&line("evil", &[&evil, &real]), &known, &ask).is_err());
        assert!(pin(&line("evil", &[&evil, &next]), &known, &ask).is_err());
        // A founding key that cannot be fetched is not assumed.
        let error = pin(&line("host", &[&next, &real]), &[], &nobody).unwrap_err();
        assert!(error.error.contains("cannot be fetched"), "{}", error.error);
        // A forged lineage is no temporary failure.
        let forges = |_: &Invite, _: &Fingerprint| Err(DialError::Unsigned);
        let fault = pin(&line("evil", &[&real, &evil]), &[], &forges).unwrap_err();
        assert_eq!(fault.code, code::WRONG_SERVER);
        assert!(fault.hint.unwrap_or_default().contains("do not use this invite"));
    }

    /// The lineage of the last of these keys.
    fn lineage(keys: &[&Identity]) -> Lineage {
        let links = keys.windows(2).map(|pair| {
            let succession = Succession::sign(pair[0], Whose::Server, pair[1]);
            FormerKey { key: pair[0].public().clone(), succession }
        });
        Lineage::verify(links.collect(), keys.last().unwrap().public()).unwrap()
    }

    #[test]
    fn a_lineage_is_that_of_a_known_server_only_through_its_pinned_key() {
        let keys = [0, 1, 2, 3].map(spare);
        let prints = keys.each_ref().map(print);
        let server = |host: &str, of: &[usize]| {
            let first = Server::new(host.into(), 5000, &prints[of[0]], None);
            of[1..].iter().fold(first, |server, at| server.succeeded_by(&prints[*at]))
        };
        // The known server's keys, the chain, and the resulting keys of the server.
        for (known, chain, now) in [
            (&[0, 1][..], &[0, 1, 2][..], &[0, 1, 2][..]),
            (&[0], &[0, 1, 2], &[0, 1, 2]),
            (&[0, 1], &[0, 1], &[0, 1]),
            (&[0, 1], &[0], &[0, 1]),
            (&[0, 1], &[1], &[0, 1]),
            (&[0, 1], &[1, 2], &[0, 1, 2]),
            // The first key was not proven, and no other key is put before a proven one.
            (&[1], &[0, 1], &[0, 1]),
            (&[1], &[0, 1, 2], &[0, 1, 2]),
            (&[0, 1], &[3, 0, 1], &[0, 1]),
            // Forks at the first key and at a later former one.
            (&[0, 1], &[0, 2], &[]),
            (&[0, 1], &[3, 0, 2], &[]),
            (&[0, 1, 2], &[0, 1, 3], &[]),
            (&[0, 1, 2], &[1, 3], &[]),
        ] {
            let servers = [server("away", &[3]), server("host", known)];
            let servers = if chain.contains(&3) { &servers[1..] } else { &servers[..] };
            let old = servers.last().unwrap();
            let line = lineage(&chain.iter().map(|at| &keys[*at]).collect::<Vec<_>>());
            let wanted = match now {
                [] => Relation::Fork(old),
                now => Relation::Same { old, now: server("host", now) },
            };
            let key = prints[*chain.last().unwrap()];
            assert_eq!(relation(&key, &line, servers), wanted, "{known:?} {chain:?}");
        }
        let others = [server("away", &[3])];
        assert_eq!(relation(&prints[0], &Lineage::default(), &others), Relation::Unknown);
        // A fork stays one although its key is known as another server's.
        let both = [server("away", &[2]), server("host", &[0, 1])];
        let line = lineage(&[&keys[0], &keys[2]]);
        assert_eq!(relation(&prints[2], &line, &both), Relation::Fork(&both[1]));
        // An invite to a fork names both keys, whatever it claims.
        let known = [server("host", &[0, 1])];
        let forks = |_: &Invite, _: &Fingerprint| Ok(line.clone());
        for claim in [None, Some(&prints[3])] {
            let prints: Vec<_> = [Some(&prints[2]), claim].into_iter().flatten().collect();
            let fault = pin(&super::tests::line("evil", &prints), &known, &forks).unwrap_err();
            assert!(fault.error.contains("follows a former key of the server of host:5000"));
            assert_eq!(fault.code, code::WRONG_SERVER);
        }
    }

    #[test]
    fn a_mix_up_of_two_known_servers_is_named() {
        let [one, two] = [1, 2].map(|number| Fingerprint([number; 32]));
        let known = [("here", &one), ("there", &two)];
        let known = known.map(|(host, print)| Server::new(host.into(), 5000, print, None));
        let error = pin(&line("here", &[&two]), &known, &nobody).unwrap_err().error;
        for part in [&one.to_string(), &two.to_string(), "the key of there:5000"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
