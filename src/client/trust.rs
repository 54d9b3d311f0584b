//! `pychat trust`: a known server has another key, which this client could not learn from the one
//! before: it is taken from the new invite, once a person has compared it.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::pinning::{self, Ask, Relation};
use super::vault::{Server, Vault};
use crate::crypto::Fingerprint;
use crate::fault::{Fault, code};
use crate::invite::Invite;
use crate::print::{self, err};

#[derive(clap::Args)]
pub struct Args {
    /// The new invite from the operator: pychat://HOST:PORT/FINGERPRINT
    invite: String,
    /// Do not ask: the key was compared already
    #[arg(long)]
    yes: bool,
}

/// What an invite means for a server that is known.
#[derive(Debug, PartialEq)]
enum Change {
    /// Nothing, and why.
    Nothing(String),
    Key {
        old: Server,
        new: Server,
        /// The new key goes back to the pinned one: what is kept of the server stays with it.
        keeps: bool,
    },
    /// The server has proven keys before the first one that was known.
    Founding { old: Server, new: Server },
    /// The invite has the key of another known server, which is at this address now.
    Conversation { old: Server, new: Server },
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let vault = Vault::open()?;
    let invite: Invite = args.invite.parse().map_err(pinning::unusable)?;
    let (old, new) = match change(&invite, &vault.servers()?, &pinning::ask)? {
        Change::Nothing(why) => {
            err!("{why}: nothing was changed");
            return Ok(ExitCode::SUCCESS);
        }
        Change::Key { old, new, keeps } => {
            tells_keys(&old, &new);
            match keeps {
                true => err!(
                    "Signatures lead from the pinned key to the new one. What this client stores of the \
                     server stays, and channels with a PIN stay the same."
                ),
                false => err!(
                    "No signature leads from the pinned key to the new one, so it counts as another \
                     server: unsent messages are not sent there, people's keys are pinned again, and channels \
                     with a PIN have to be entered again."
                ),
            }
            (old, new)
        }
        Change::Founding { old, new } => {
            tells_keys(&old, &new);
            err!(
                "The server has proven its first key, which this client did not know: people's keys are pinned \
                 again, and channels with a PIN have to be entered again."
            );
            (old, new)
        }
        Change::Conversation { old, new } => {
            tells_keys(&old, &new);
            err!(
                "This is the key of a server that this client knows at another address. What it stores of that \
                 server stays; the server that was pinned at this address is removed."
            );
            (old, new)
        }
    };
    confirm(args.yes)?;
    vault.exchange(&old, &new)?;
    err!("the new key is pinned: pychat client");
    Ok(ExitCode::SUCCESS)
}

fn tells_keys(old: &Server, new: &Server) {
    let shown =
        |server: &Server| server.fingerprint().map_or_else(String::new, |it| it.to_string());
    err!("the server of {}:{}", old.host, old.port);
    err!("  pinned key   {}\n  new key      {}", shown(old), shown(new));
}

/// What is to be changed by this invite.
fn change(invite: &Invite, known: &[Server], ask: Ask) -> Result<Change, Fault> {
    let Some(print) = &invite.fingerprint else {
        let hint = "paste the whole pychat:// line";
        return Err(Fault::new(code::USAGE, "the invite contains no key", hint));
    };
    let met = pinning::at(invite, known);
    let other = |server: &Server| met.filter(|met| met.founding() != server.founding());
    if let Some(server) = pinning::known_by(print, known)
        && other(server).is_none()
        && pinning::claims_nothing_new(invite, server)
    {
        return Ok(Change::Nothing(is_known(server, print, invite)));
    }
    let lineage = ask(invite, print).map_err(|error| pinning::unasked(invite, &error))?;
    let (host, port) = (invite.host.clone(), invite.port);
    match pinning::relation(print, &lineage, known) {
        Relation::Fork(server) => Err(pinning::fork(server, print)),
        Relation::Same { old, now } => Ok(match other(old) {
            Some(met) => Change::Conversation { old: met.clone(), new: now.at(host, port) },
            None if now == *old => Change::Nothing(is_known(old, print, invite)),
            None if now.founding() != old.founding() => {
                Change::Founding { old: old.clone(), new: now.at(host, port) }
            }
            None => Change::Key { old: old.clone(), new: now.at(host, port), keeps: true },
        }),
        Relation::KeyHolder => {
            let old = met.ok_or_else(|| unknown(invite, print, known))?.clone();
            let new = Server::new(host, port, print, old.name.clone()).after(&lineage);
            Ok(Change::Key { old, new, keeps: false })
        }
    }
}

/// No known server has the key of the invite or is at its address.
fn unknown(invite: &Invite, print: &Fingerprint, known: &[Server]) -> Fault {
    let claimed = invite.founding.as_ref().and_then(|claim| pinning::known_by(claim, known));
    let Some(old) = claimed else {
        let error = format!("{}:{} is not known yet", invite.host, invite.port);
        return Fault::new(code::USAGE, error, "connect with pychat client INVITE");
    };
    let error = format!(
        "the invite names a key of the server of {}:{}, and its own key {print} does not go back to the \
         pinned one by signatures",
        old.host, old.port
    );
    let hint = "nothing was changed: ask the operator for the right invite";
    Fault::new(code::WRONG_SERVER, error, hint)
}

/// How an invite's key is known already.
fn is_known(server: &Server, print: &Fingerprint, invite: &Invite) -> String {
    let pinned = server.fingerprint().map_or_else(String::new, |print| print.to_string());
    let Server { host, port, .. } = server;
    if server.fingerprint() != Some(*print) {
        return format!(
            "the invite is an old one: the server of {host}:{port} has a newer key, {pinned}, which goes back \
             to {print} by signatures"
        );
    }
    match server.is_at(&invite.host, invite.port) {
        true => format!("the server of {host}:{port} is known by this key already, {pinned}"),
        false => format!(
            "this is the key of {host}:{port}, {pinned}, and pychat client INVITE goes to its new address"
        ),
    }
}

/// The person compares the key with what the operator says.
fn confirm(yes: bool) -> Result<(), Fault> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let hint = "compare it, then add --yes";
        return Err(Fault::new(code::USAGE, "the key was not compared", hint));
    }
    print::aside("Did the operator announce the change, and read you exactly this new key? [y/N] ");
    let mut answer = String::new();
    // Who hangs up has not said yes.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Fault::plain(code::OTHER, "nothing was changed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::lineage::{Lineage, Link};
    use crate::crypto::succession::{Succession, Whose};
    use crate::crypto::test_keys::spare;
    use crate::net::tunnel::DialError;

    #[test]
    fn another_key_is_another_server_unless_signatures_lead_to_it() {
        let keys = [0, 1, 2, 3].map(spare);
        let [one, two, three, other] = keys.each_ref().map(|key| key.public().fingerprint());
        let name = Some("carol".parse().unwrap());
        let server = Server::new("host".into(), 5000, &one, name).succeeded_by(&two);
        let away = Server::new("away".into(), 5000, &other, None);
        let known = [server.clone(), away.clone()];
        let links = keys.windows(2).take(2).map(|pair| {
            let succession = Succession::sign(&pair[0], Whose::Server, &pair[1]);
            Link { key: pair[0].public().clone(), succession }
        });
        let proof = Lineage::verify(links.collect(), keys[2].public()).unwrap();
        let of = |host: &str, print: &Fingerprint, founding: Option<Fingerprint>, proven: bool| {
            let fingerprint = Some(*print);
            let ask = |_: &Invite, _: &Fingerprint| {
                Ok(if proven { proof.clone() } else { Lineage::default() })
            };
            change(&Invite { host: host.into(), port: 5000, fingerprint, founding }, &known, &ask)
        };
        for (host, print, why) in [
            ("host", &one, "an old one"),
            ("host", &two, "by this key already"),
            ("new.host", &two, "this is the key of host:5000"),
        ] {
            let told = of(host, print, None, false).unwrap();
            assert!(matches!(&told, Change::Nothing(told) if told.contains(why)), "{told:?}");
        }
        let next = server.succeeded_by(&three);
        let keeps = |new: &Server| {
            let (old, new) = (server.clone(), new.clone());
            Ok(Change::Key { old, new, keeps: true })
        };
        assert_eq!(of("host", &three, None, true).map_err(|it| it.error), keeps(&next));
        let moved = next.at("new.host".into(), 5000);
        assert_eq!(of("new.host", &three, Some(one), true).map_err(|it| it.error), keeps(&moved));
        // A claim alone is worth nothing.
        assert!(of("new.host", &three, Some(one), false).is_err());
        for claim in [None, Some(one), Some(other)] {
            let Change::Key { new, keeps, .. } = of("host", &three, claim, false).unwrap() else {
                panic!("it has another key")
            };
            assert!(!keeps && new.name == server.name && new.founding() == Some(three));
        }
        let mixed = of("host", &other, None, false).unwrap();
        let new = away.at("host".into(), 5000);
        assert_eq!(mixed, Change::Conversation { old: server.clone(), new });
        // A server that proves the pinned key is known at any address.
        let moved = next.at("nowhere".into(), 5000);
        assert_eq!(of("nowhere", &three, None, true).map_err(|it| it.error), keeps(&moved));
        assert!(of("nowhere", &three, None, false).is_err());
        let bare = Invite { host: "host".into(), port: 5000, fingerprint: None, founding: None };
        assert!(change(&bare, &known, &|_, _| Ok(Lineage::default())).is_err());
        let away = |_: &Invite, _: &Fingerprint| Err(DialError::Silent);
        let gone = Invite { fingerprint: Some(three), ..bare };
        assert!(change(&gone, &known, &away).unwrap_err().error.contains("cannot be asked"));
    }

    #[test]
    fn a_first_key_is_repaired_and_a_fork_at_a_former_key_changes_nothing() {
        let keys = [0, 1, 2, 3].map(spare);
        let [one, two, three, other] = keys.each_ref().map(|key| key.public().fingerprint());
        let links = keys.windows(2).take(2).map(|pair| {
            let succession = Succession::sign(&pair[0], Whose::Server, &pair[1]);
            Link { key: pair[0].public().clone(), succession }
        });
        let proof = Lineage::verify(links.collect(), keys[2].public()).unwrap();
        let before = Server::new("host".into(), 5000, &three, None);
        let line = |_: &Invite, _: &Fingerprint| Ok(proof.clone());
        let invite = |host: &str, founding| Invite {
            host: host.into(),
            port: 5000,
            fingerprint: Some(three),
            founding,
        };
        let told =
            change(&invite("host", Some(one)), std::slice::from_ref(&before), &line).unwrap();
        let new =
            Server::new("host".into(), 5000, &one, None).succeeded_by(&two).succeeded_by(&three);
        assert_eq!(told, Change::Founding { old: before, new });
        let forked = [Server::new("host".into(), 5000, &one, None).succeeded_by(&other)];
        for (host, claim) in
            [("host", None), ("evil", None), ("evil", Some(one)), ("host", Some(two))]
        {
            let error = change(&invite(host, claim), &forked, &line).unwrap_err().error;
            assert!(error.contains(&other.to_string()) && error.contains(&three.to_string()));
        }
    }
}
