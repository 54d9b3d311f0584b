//! `pychat trust`: accepts another key of a known server that no rotation announced. The key comes
//! from a new invite, once the server has proven it and the user has compared it.

use std::cell::RefCell;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::connection::pinning::{self, Ask, PATIENCE, Relation};
use super::storage::data_folder::{DataFolder, Server};
use crate::crypto::{Fingerprint, Identity, PublicKey};
use crate::fault::{Fault, code};
use crate::file::FileError;
use crate::invite::Invite;
use crate::net::tunnel::{self, Dial, DialError, fetch_lineage};
use crate::print::{self, err};
use crate::suite::Suites;
use crate::system::terminal::discard_typed;

#[derive(clap::Args)]
pub struct Args {
    /// The new invite from the operator: pychat://HOST:PORT/FINGERPRINT
    invite: String,
    /// Do not ask: the key was compared already
    #[arg(long)]
    yes: bool,
}

/// What an invite changes for a known server.
#[derive(Debug, PartialEq)]
enum Change {
    /// Nothing, with the reason.
    Nothing(String),
    Replace(Box<Replacement>),
}

/// The replacement of an entry of the known servers.
#[derive(Debug, PartialEq)]
struct Replacement {
    /// The removed entry.
    old: Server,
    new: Server,
    relation: By,
}

/// The relation of the new key to the pinned one.
#[derive(Debug, PartialEq)]
enum By {
    /// Signatures lead from the pinned key to it.
    Signatures,
    /// It is the key of this known server, which now has the other one's address.
    Address { known: Server },
    /// None: it is another server.
    Nothing,
    /// Both follow a former key of the server, so one of the two belongs to a thief.
    Fork,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let data_folder = DataFolder::open()?;
    let invite: Invite = args.invite.parse().map_err(pinning::unusable)?;
    let key = RefCell::new(None);
    let ask = |invite: &Invite, print: &Fingerprint| {
        let (own, lineage) = fetch_lineage(&invite.host, invite.port, print, PATIENCE)?;
        key.replace(Some(own));
        Ok(lineage)
    };
    let replacement = match change(&invite, &data_folder.servers()?, &ask)? {
        Change::Nothing(why) => {
            err!("{why}: nothing was changed");
            return Ok(ExitCode::SUCCESS);
        }
        Change::Replace(replacement) => replacement,
    };
    let key = key.into_inner().expect("whatever changes something was asked for");
    replacement.may_be_confirmed(args.yes, &key.fingerprint())?;
    prove(&invite, &key, data_folder.settings()?.suites)?;
    replacement.print();
    replacement.confirm(args.yes, &key.fingerprint())?;
    store(&data_folder, &replacement, &key)?;
    err!("the new key is pinned: pychat client");
    Ok(ExitCode::SUCCESS)
}

/// Asks the server at the invite's address to prove the key. The client uses a one-time key, so
/// that the server does not learn who asks.
fn prove(invite: &Invite, key: &PublicKey, suites: Suites) -> Result<(), Fault> {
    err!("asking {}:{} to prove the key ...", invite.host, invite.port);
    let (host, port) = (invite.host.as_str(), invite.port);
    let to = Dial { host, port, server: key, suites, patience: PATIENCE };
    tunnel::prove(&to, &Identity::generate()).map_err(|error| {
        let (code, hint) = match error {
            DialError::WrongKey | DialError::Cut | DialError::Foreign => {
                (code::WRONG_SERVER, "nothing was stored: what answers there may not be the server")
            }
            _ => (code::UNREACHABLE, "nothing was stored: try again when the server runs"),
        };
        Fault::new(code, format!("{host}:{port} has not proven the key: {error}"), hint)
    })
}

fn store(
    data_folder: &DataFolder,
    replacement: &Replacement,
    key: &PublicKey,
) -> Result<(), FileError> {
    let Replacement { old, new, relation } = replacement;
    if *relation == By::Fork {
        let Server { host, port, .. } = old;
        err!(
            "The server of {host}:{port} was not the genuine one: whoever runs it could read and change what \
             you wrote and saw there."
        );
        // Key lists from the thief's server must not count as those of the genuine one.
        if let Some(founding) = old.founding().filter(|founding| new.founding() == Some(*founding))
        {
            let folder = data_folder.set_aside(&founding)?;
            err!("What this client stored of it is in {} and is not used.", folder.display());
        }
    }
    data_folder.remember_server_key(key)?;
    data_folder.exchange(old, new)
}

impl Replacement {
    fn print(&self) {
        let Replacement { old, new, relation } = self;
        let shown =
            |server: &Server| server.fingerprint().map_or_else(String::new, |it| it.to_string());
        err!("the server of {}:{}", old.host, old.port);
        err!("  pinned key   {}\n  new key      {}", shown(old), shown(new));
        match relation {
            By::Signatures => {
                err!("Signatures lead from the pinned key to the new one. {}", stored(old, new));
            }
            By::Address { known } => err!(
                "This is the key of a server that this client knows at another address, {}:{}. The server that \
                 was pinned at this address is removed. {}",
                known.host,
                known.port,
                stored(known, new)
            ),
            By::Nothing => err!(
                "No signature leads from the pinned key to the new one, so it counts as another server. {}",
                stored(old, new)
            ),
            By::Fork => err!(
                "Both keys follow a former key of the server, which somebody has stolen: one of the two is \
                 theirs. If the operator reads you the new key, the server of {}:{} was not the genuine one. \
                 What this client stores of it is then set aside: people's keys are pinned again, channels \
                 with a PIN have to be entered again, unsent messages are not sent, and /search finds nothing \
                 of before.",
                old.host,
                old.port
            ),
        }
    }

    /// Returns an error if nobody can compare the key.
    fn may_be_confirmed(&self, yes: bool, new: &Fingerprint) -> Result<(), Fault> {
        let terminal = std::io::stdin().is_terminal();
        match self.relation {
            By::Fork if !terminal || yes => Err(pinning::fork(&self.old, new)),
            _ if !terminal && !yes => {
                let hint = "compare it, then add --yes";
                Err(Fault::new(code::USAGE, "the key was not compared", hint))
            }
            _ => Ok(()),
        }
    }

    /// Asks the user to compare the key with the operator's.
    fn confirm(&self, yes: bool, new: &Fingerprint) -> Result<(), Fault> {
        let confirmed = match self.relation {
            By::Fork => {
                // The key is not shown in this form, so that typing it shows that it was heard.
                let question = "Ask the operator, in person or by a call that you make, to read the server's \
                                key aloud (pychat invite shows it to them).\nType the server's key as the \
                                operator reads it, or nothing to change nothing: ";
                reads_like(new, &answer(question))
            }
            _ if yes => true,
            _ => {
                let question = "Did the operator announce the change, and read you exactly this new key? [y/N] ";
                matches!(answer(question).to_lowercase().as_str(), "y" | "yes")
            }
        };
        match confirmed {
            true => Ok(()),
            false if self.relation == By::Fork => Err(Fault::plain(
                code::OTHER,
                "this is not the key of the invite: nothing was changed",
            )),
            false => Err(Fault::plain(code::OTHER, "nothing was changed")),
        }
    }
}

/// The notice about the client's stored state for a server.
fn stored(old: &Server, new: &Server) -> &'static str {
    match old.founding() == new.founding() {
        true => {
            "What this client stores of the server stays: people's keys, unsent messages, messages for \
             /search; and channels with a PIN stay the same."
        }
        false => {
            "The first key is another one than the client knew, and everything is stored under the first key: \
             people's keys are pinned again, channels with a PIN have to be entered again, unsent messages \
             are not sent, and /search finds nothing of before."
        }
    }
}

/// Returns whether a text is the spoken form of a key, as users write it down.
fn reads_like(key: &Fingerprint, text: &str) -> bool {
    let letters =
        text.chars().filter(|c| c.is_alphanumeric()).map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
    letters.eq(key.spoken().chars().filter(|c| *c != '-'))
}

/// Returns what this invite changes.
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
    let (old, new, relation) = match pinning::relation(print, &lineage, known) {
        Relation::Fork(old) => {
            let new = Server::new(host, port, print, old.name.clone()).after(&lineage);
            (old, new, By::Fork)
        }
        Relation::Same { old, now } => match other(old) {
            Some(met) => (met, now.at(host, port), By::Address { known: old.clone() }),
            None if now == *old => return Ok(Change::Nothing(is_known(old, print, invite))),
            None => (old, now.at(host, port), By::Signatures),
        },
        Relation::Unknown => {
            let old = met.ok_or_else(|| unknown(invite, print, known))?;
            let new = Server::new(host, port, print, old.name.clone()).after(&lineage);
            (old, new, By::Nothing)
        }
    };
    Ok(Change::Replace(Box::new(Replacement { old: old.clone(), new, relation })))
}

/// The error if no known server has the invite's key or its address.
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

/// The notice if an invite's key is already known.
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

/// Reads an answer; the end of the input counts as an empty one. Text that was typed before the
/// question does not answer it.
fn answer(question: &str) -> String {
    discard_typed();
    print::aside(question);
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    answer.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::lineage::{FormerKey, Lineage};
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
            FormerKey { key: pair[0].public().clone(), succession }
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
            Ok(Change::Replace(Box::new(Replacement { old, new, relation: By::Signatures })))
        };
        assert_eq!(of("host", &three, None, true).map_err(|it| it.error), keeps(&next));
        let moved = next.at("new.host".into(), 5000);
        assert_eq!(of("new.host", &three, Some(one), true).map_err(|it| it.error), keeps(&moved));
        // A claim alone is not accepted.
        assert!(of("new.host", &three, Some(one), false).is_err());
        for claim in [None, Some(one), Some(other)] {
            let Change::Replace(other) = of("host", &three, claim, false).unwrap() else {
                panic!("it has another key")
            };
            assert_eq!((&other.relation, other.new.founding()), (&By::Nothing, Some(three)));
            assert_eq!(other.new.name, server.name);
        }
        let mixed = of("host", &other, None, false).unwrap();
        let (new, relation) = (away.at("host".into(), 5000), By::Address { known: away });
        let replaces = Replacement { old: server.clone(), new, relation };
        assert_eq!(mixed, Change::Replace(Box::new(replaces)));
        // A server that proves the pinned key is accepted at any address.
        let moved = next.at("nowhere".into(), 5000);
        assert_eq!(of("nowhere", &three, None, true).map_err(|it| it.error), keeps(&moved));
        assert!(of("nowhere", &three, None, false).is_err());
        let bare = Invite { host: "host".into(), port: 5000, fingerprint: None, founding: None };
        assert!(change(&bare, &known, &|_, _| Ok(Lineage::default())).is_err());
        let away = |_: &Invite, _: &Fingerprint| Err(DialError::Silent);
        let gone = Invite { fingerprint: Some(three), ..bare };
        assert!(change(&gone, &known, &away).unwrap_err().error.contains("cannot be fetched"));
    }

    #[test]
    fn a_first_key_is_repaired_and_a_fork_at_a_former_key_changes_nothing() {
        let keys = [0, 1, 2, 3].map(spare);
        let [one, two, three, other] = keys.each_ref().map(|key| key.public().fingerprint());
        let links = keys.windows(2).take(2).map(|pair| {
            let succession = Succession::sign(&pair[0], Whose::Server, &pair[1]);
            FormerKey { key: pair[0].public().clone(), succession }
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
        let told = |known: &[Server]| match change(&invite("host", Some(one)), known, &line) {
            Ok(Change::Replace(replacement)) => *replacement,
            other => panic!("{:?}", other.map_err(|fault| fault.error)),
        };
        let new =
            Server::new("host".into(), 5000, &one, None).succeeded_by(&two).succeeded_by(&three);
        let told_of = |old: &Server, relation| {
            let (old, new) = (old.clone(), new.clone());
            Replacement { old, new, relation }
        };
        let known = [before.clone()];
        assert_eq!(told(&known), told_of(&before, By::Signatures));
        assert!(stored(&before, &new).contains("pinned again"));
        // The same where another server was at this address.
        let (there, here) =
            (before.at("there".into(), 5000), Server::new("host".into(), 5000, &other, None));
        let by = By::Address { known: there.clone() };
        assert_eq!(told(&[here.clone(), there.clone()]), told_of(&here, by));
        assert!(stored(&there, &new).contains("pinned again"));
        let there = Server::new("there".into(), 5000, &one, None).succeeded_by(&two);
        let by = By::Address { known: there.clone() };
        assert_eq!(told(&[here.clone(), there.clone()]), told_of(&here, by));
        assert!(stored(&there, &new).contains("stays"));
        // A thief of the first key was known before the server.
        let forked = Server::new("evil".into(), 5000, &one, None).succeeded_by(&other);
        assert_eq!(told(std::slice::from_ref(&forked)), told_of(&forked, By::Fork));
        let fork = told_of(&forked, By::Fork);
        for yes in [true, false] {
            let fault = fork.may_be_confirmed(yes, &three).unwrap_err().error;
            assert!(fault.contains(&other.to_string()) && fault.contains(&three.to_string()));
        }
    }

    #[test]
    fn a_key_is_read_as_people_write_what_they_hear() {
        let key = Fingerprint(std::array::from_fn(|at| at as u8));
        let spoken = key.spoken();
        let written = spoken.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert!(reads_like(&key, &spoken) && reads_like(&key, &written), "{written}");
        let mut wrong = spoken.clone();
        wrong.replace_range(0..1, "Z");
        for text in ["", "y", "yes", &wrong, &spoken[..22], &format!("{spoken}0"), &key.to_string()]
        {
            assert!(!reads_like(&key, text), "{text}");
        }
    }
}
