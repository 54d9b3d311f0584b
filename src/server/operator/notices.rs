//! Notices to everybody: `/announce`, `say` and the message of the day.

use super::call::Call;
use super::moderation;
use super::reply::{Reply, yes};

pub fn say(call: &Call) -> Reply {
    let (context, actor) = (call.context, call.actor);
    let text = match moderation::words(context, call.operands) {
        Ok(Some(text)) => text,
        Ok(None) => return call.asks("say what?"),
        Err(problem) => return problem,
    };
    match actor.whom {
        Some(_) => context.hub.notice_all(&format!("{} announces: {text}", actor.name)),
        None => context.hub.notice_all(&text),
    }
    context.records.record(&call.done());
    yes("said")
}

pub fn motd(call: &Call) -> Reply {
    let context = call.context;
    let text = match moderation::words(context, call.operands) {
        Ok(Some(text)) => text,
        Ok(None) => {
            return match context.decided.now().motd_over(&context.config.get()) {
                Some(motd) => yes(&motd),
                None => yes("there is no message of the day: motd TEXT sets it"),
            };
        }
        Err(problem) => return problem,
    };
    let text = if text == "-" { String::new() } else { text };
    let said = if text.is_empty() { "there is no message of the day now" } else { "it is set" };
    let ((), rest) = context.decided.decide(|decisions| decisions.motd = Some(text));
    match moderation::granted(said, moderation::write(context, rest)) {
        Ok(()) => {
            context.records.record(&call.done());
            yes(said)
        }
        Err(problem) => problem,
    }
}
