//! `rename`: another name for a user.

use serde_json::json;

use super::call::Call;
use super::reply::{Reply, failed, misused, with};
use crate::chat::UserName;
use crate::home::{AddError, Decision};
use crate::server::accounts::Renamed;

/// Gives a user another name.
pub fn rename(call: &Call) -> Reply {
    let [old, new] = call.operands else {
        return call.asks("name the user and the new name:");
    };
    let parsed = |text: &String| text.parse::<UserName>().map_err(|error| error.to_string());
    let (old, new) = match (parsed(old), parsed(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => return misused(&error),
    };
    let context = call.context;
    match context.accounts.rename(&old, &new) {
        Ok(Renamed { old, moved }) => {
            let reason = Some(new.as_str());
            context.records.record(&Decision { target: old.as_str(), reason, ..call.done() });
            let rest = match moved {
                true => "all users are notified",
                false => {
                    "the conversations could not be moved yet: the log has the reason, and the \
                     server tries again each minute"
                }
            };
            let text = format!("{old} is called {new} now, with the same keys; {rest}");
            with(text, json!({"old": old, "name": new, "moved": moved}))
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &AddError) -> Reply {
    let hint = match error {
        AddError::Registered(_) | AddError::Refused(_) => "choose another name",
        AddError::Occupied(_) => "remove the file, or choose another name",
        AddError::SameName(_) => "nothing was changed",
        AddError::Nobody(_) => "pychat users list shows who is registered",
        _ => "pychat check lists all faults of this home",
    };
    failed(&error.to_string(), hint)
}
