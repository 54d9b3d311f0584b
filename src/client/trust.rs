//! `pychat trust`: a known server has another key, which this client could not learn from the one before:
//! it is taken from the new invite, once a person has compared it.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::pinning::{self, Ask};
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
    /// The invite has the key of another known server, which is at this address now.
    Place { old: Server, new: Server },
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
        Change::Place { old, new } => {
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
    let (met, same) = (pinning::at(invite, known), pinning::known_by(print, known));
    if let Some(server) = same {
        let place = || server.at(invite.host.clone(), invite.port);
        return Ok(match met.filter(|met| met.founding() != server.founding()) {
            Some(old) => Change::Place { old: old.clone(), new: place() },
            None => Change::Nothing(is_known(server, print, invite)),
        });
    }
    let claimed = || pinning::known_by(invite.founding.as_ref()?, known);
    let old = met.or_else(claimed).ok_or_else(|| {
        let error = format!("{}:{} is not known yet", invite.host, invite.port);
        Fault::new(code::USAGE, error, "connect with pychat client INVITE")
    })?;
    let lineage = ask(invite, print).map_err(|error| pinning::unasked(invite, &error))?;
    let keeps = lineage.prints().any(|before| old.fingerprint() == Some(before));
    if met.is_none() && !keeps {
        let error = format!(
            "the invite names a key of the server of {}:{}, and its own key {print} does not go back to the \
             pinned one by signatures",
            old.host, old.port
        );
        let hint = "nothing was changed: ask the operator for the right invite";
        return Err(Fault::new(code::WRONG_SERVER, error, hint));
    }
    let (host, port) = (invite.host.clone(), invite.port);
    let new = match keeps {
        true => old.followed_by(&lineage, print).at(host, port),
        false => Server::new(host, port, print, old.name.clone()).after(&lineage),
    };
    Ok(Change::Key { old: old.clone(), new, keeps })
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
    match *host == invite.host && *port == invite.port {
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
        assert_eq!(mixed, Change::Place { old: server.clone(), new });
        assert!(of("nowhere", &three, None, true).is_err());
        let bare = Invite { host: "host".into(), port: 5000, fingerprint: None, founding: None };
        assert!(change(&bare, &known, &|_, _| Ok(Lineage::default())).is_err());
        let away = |_: &Invite, _: &Fingerprint| Err(DialError::Silent);
        let gone = Invite { fingerprint: Some(three), ..bare };
        assert!(change(&gone, &known, &away).unwrap_err().error.contains("cannot be asked"));
    }
}
