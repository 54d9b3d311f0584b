//! Keys that wait to be registered: the running server has refused them.

use serde::Deserialize;
use serde_json::json;

use super::given_key::{Given, read_key};
use crate::chat::UserName;
use crate::fault::{Fault, code};
use crate::home::Home;
use crate::print::{err, out};
use crate::server::operator::ctl;

/// Characters of a code without its hyphens.
const CODE_CHARS: usize = 20;

/// A key as the server lists it.
#[derive(Deserialize)]
struct Key {
    name: UserName,
    code: String,
    notes: Vec<String>,
    line: String,
}

/// Prints the waiting keys.
///
/// # Errors
/// No server runs in this home.
pub fn list(home: &Home, json: bool) -> anyhow::Result<()> {
    let reply = ask(home)?;
    if json {
        out!("{}", json!({"waiting": reply.data}))?;
    } else {
        out!("{}", reply.text)?;
    }
    Ok(())
}

/// Returns the waiting key with a code, or the only one that claims a name. `unasked`: nobody
/// compares the key afterwards, and another key could claim the same name: only a code is enough.
///
/// # Errors
/// No key fits, several do, or no server runs in this home.
pub fn find(home: &Home, wanted: &str, unasked: bool) -> anyhow::Result<Given> {
    let keys: Vec<Key> = serde_json::from_value(ask(home)?.data)?;
    let code = plain(wanted);
    let by_code = keys.iter().find(|key| plain(&key.code) == code);
    if let Some(key) = by_code {
        return given(key);
    }
    let hint = "pychat users waiting lists the keys and their codes";
    let claims = |key: &&Key| wanted.parse().is_ok_and(|name: UserName| key.name == name);
    let claiming: Vec<_> = keys.iter().filter(claims).collect();
    match claiming[..] {
        [] => {
            let what = if code.len() == CODE_CHARS { "with this code" } else { "under this name" };
            Err(Fault::new(code::OTHER, format!("no key waits {what}"), hint).into())
        }
        [_] if unasked => {
            let error = "with --yes, --waiting needs the code: any key can claim a name";
            Err(Fault::new(code::USAGE, error, hint).into())
        }
        [key] => given(key),
        [key, ..] => {
            let count = claiming.len();
            let error = format!("{count} keys claim the name {}", key.name);
            let hint = "ask for the code, and give it: pychat users add --waiting CODE";
            Err(Fault::new(code::OTHER, error, hint).into())
        }
    }
}

fn given(key: &Key) -> anyhow::Result<Given> {
    key.notes.iter().for_each(|note| err!("note: {note}"));
    read_key(&key.line)
}

/// Returns a code without hyphens and spaces, in capitals.
fn plain(code: &str) -> String {
    let kept = code.chars().filter(|c| *c != '-' && !c.is_whitespace());
    kept.map(|c| c.to_ascii_uppercase()).collect()
}

fn ask(home: &Home) -> anyhow::Result<ctl::Reply> {
    let Some(reply) = ctl::ask(home, &["waiting".to_owned()])? else {
        let error = format!("no server runs in {}", home.dir().display());
        let hint = "the waiting keys are in the memory of a running server";
        return Err(Fault::new(code::UNREACHABLE, error, hint).into());
    };
    if !reply.ok {
        let hint = "are this program and the server of the same version?";
        return Err(Fault::new(code::OTHER, reply.text, hint).into());
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_in_any_form() {
        for typed in ["M4T9A-Q2B7C-K3D8E-P4F9G", "m4t9a q2b7c k3d8e p4f9g", "m4t9aq2b7ck3d8ep4f9g"]
        {
            assert_eq!(plain(typed), "M4T9AQ2B7CK3D8EP4F9G");
            assert_eq!(plain(typed).len(), CODE_CHARS);
        }
    }
}
