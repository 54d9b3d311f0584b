//! `pychat trust`: a known server has another key, which this client could not learn from the one before:
//! it is taken from the new invite, once a person has compared it.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::vault::{Server, Vault};
use crate::crypto::Fingerprint;
use crate::fault::{Fault, code};
use crate::invite::Invite;
use crate::print::{self, err};

#[derive(clap::Args)]
pub struct Args {
    /// The new invite, as the operator sent it: pychat://HOST:PORT/FINGERPRINT
    invite: String,
    /// The key was compared already
    #[arg(long)]
    yes: bool,
}

/// What another key means for a server that is known.
#[derive(Debug, PartialEq)]
struct Change {
    old: Server,
    new: Server,
    /// It goes back to the same first key: what is kept of the server stays with it.
    keeps: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let vault = Vault::open()?;
    let invite: Invite = args.invite.parse().map_err(super::contact::unusable)?;
    let Some(change) = change(&invite, &vault.servers()?)? else {
        err!("the server is known by this key already: nothing was changed");
        return Ok(ExitCode::SUCCESS);
    };
    let Change { old, new, keeps } = &change;
    let shown =
        |server: &Server| server.fingerprint().map_or_else(String::new, |it| it.to_string());
    err!("the server of {}:{}", old.host, old.port);
    err!("  is known by  {}\n  is to have   {}", shown(old), shown(new));
    match keeps {
        true => err!("What this client keeps of it stays, and channels with a PIN stay the same."),
        false => {
            err!(
                "It goes back to another first key, so it is taken for another server: lines that are"
            );
            err!("not sent yet stay behind, and channels with a PIN have to be entered again.");
        }
    }
    confirm(args.yes)?;
    vault.exchange(old, new)?;
    err!("the new key is pinned: pychat client");
    Ok(ExitCode::SUCCESS)
}

/// Which server has another key by this invite; none where it is known by that one already.
fn change(invite: &Invite, known: &[Server]) -> Result<Option<Change>, Fault> {
    let at = |server: &&Server| server.host == invite.host && server.port == invite.port;
    let Some(print) = &invite.fingerprint else {
        let hint = "paste the operator's whole pychat:// line";
        return Err(Fault::new(code::USAGE, "the invite names no key", hint));
    };
    if known.iter().any(|server| server.is_known_by(print)) {
        return Ok(None);
    }
    let founded = |founding| known.iter().find(|server| server.founding() == Some(founding));
    let (met, founded) = (known.iter().find(at), invite.founding.and_then(founded));
    let old = match (met, founded) {
        (Some(met), Some(founded)) if met != founded => {
            let error = format!(
                "the invite has the address of one known server and the first key of another ({}:{})",
                founded.host, founded.port
            );
            return Err(Fault::new(
                code::WRONG_SERVER,
                error,
                "ask the operator for the right one",
            ));
        }
        (met, founded) => founded.or(met).ok_or_else(|| {
            let error = format!("{}:{} is not known yet", invite.host, invite.port);
            Fault::new(code::USAGE, error, "pychat client INVITE goes there")
        })?,
    };
    let (host, port) = (invite.host.clone(), invite.port);
    let keeps = founded.is_some();
    let new = if keeps {
        old.succeeded_by(print).at(host, port)
    } else {
        let founding: &Fingerprint = invite.founding.as_ref().unwrap_or(print);
        Server::new(host, port, print, founding, old.name.clone())
    };
    Ok(Some(Change { old: old.clone(), new, keeps }))
}

/// The person compares the key with what the operator says.
fn confirm(yes: bool) -> Result<(), Fault> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let hint = "--yes says that it was compared";
        return Err(Fault::new(code::USAGE, "the key was not compared", hint));
    }
    print::aside("Did the operator tell you so, and read you exactly this new key? [y/N] ");
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

    #[test]
    fn another_key_is_another_server_unless_the_first_one_is_the_same() {
        let [one, two, three, other] = [1, 2, 3, 9].map(|number| Fingerprint([number; 32]));
        let name = Some("carol".parse().unwrap());
        let server = Server::new("host".into(), 5000, &one, &one, name).succeeded_by(&two);
        let away = Server::new("away".into(), 5000, &other, &other, None);
        let known = [server.clone(), away.clone()];
        let of = |host: &str, fingerprint: &Fingerprint, founding: Option<Fingerprint>| {
            let fingerprint = Some(*fingerprint);
            change(&Invite { host: host.into(), port: 5000, fingerprint, founding }, &known)
        };
        for print in [&one, &two] {
            assert_eq!(of("host", print, None).unwrap(), None, "known, an old invite too");
        }
        let next = of("host", &three, Some(one)).unwrap().unwrap();
        let moved = of("new.host", &three, Some(one)).unwrap().unwrap();
        assert!(next.keeps && next.old == server && next.new == server.succeeded_by(&three));
        assert_eq!(moved.new, next.new.at("new.host".into(), 5000));
        let anew = of("host", &three, None).unwrap().unwrap();
        assert!(!anew.keeps && anew.new.name == server.name && anew.new.founding() == Some(three));
        assert!(of("host", &three, Some(other)).is_err(), "one's place and another's first key");
        assert!(of("nowhere", &three, None).is_err());
        let bare = Invite { host: "host".into(), port: 5000, fingerprint: None, founding: None };
        assert!(change(&bare, &known).is_err());
    }
}
