//! Handling of refusals, of the server or of the client itself.

use super::action::{Action, notice};
use super::exchange::Exchange;
use super::output::{Origin, Output};
use super::requests::Wish;
use super::tail::Tail;
use crate::chat::{Code, Event, MsgId};
use crate::fault::code;

/// Why a request was not carried out.
pub struct Refused {
    pub code: Code,
    pub hint: String,
    pub id: Option<MsgId>,
    pub retry_ms: Option<u64>,
    pub reference: Option<String>,
}

impl Refused {
    fn event(self) -> Event {
        let Refused { code, hint, id, retry_ms, reference } = self;
        Event::Refused { code, hint, id, retry_ms, reference }
    }
}

/// Handles a refusal.
pub fn refused(exchange: &mut Exchange, mut refused: Refused, origin: Origin) -> Vec<Action> {
    let Refused { code, id, retry_ms, .. } = refused;
    match (code, id, retry_ms) {
        (Code::Rate, Some(id), Some(wait_ms))
            if !exchange.usage.is_program && exchange.outgoing.postpone(id) =>
        {
            let text = format!("too fast: wait {} s; it is then sent", wait_ms.div_ceil(1000));
            return vec![notice(text), Action::Wait(wait_ms)];
        }
        // The message stays in the outbox; the next connection settles it.
        (Code::InDoubt, ..) if !exchange.usage.once => {
            let shown = Action::Output(Output::Event(origin, refused.event()));
            let is_last = id.is_some() && id == exchange.ending.last_message();
            let leaves = if is_last { exchange.exit_after_last_message() } else { None };
            return [shown].into_iter().chain(leaves.into_iter().flatten()).collect();
        }
        _ => {}
    }
    let reference = refused.reference.as_deref();
    if let Some(actions) = exchange.counted(reference, &[], |_| false) {
        return actions;
    }
    let is_refused = |tail: &Tail| tail.is_refused(reference);
    if exchange.tail.as_ref().is_some_and(is_refused) {
        let shown = Action::Output(Output::Event(origin, refused.event()));
        return vec![shown, Action::Close, Action::Quit(code::NOT_ACKNOWLEDGED)];
    }
    let refusal = (code, refused.hint.as_str());
    if let Some(actions) = files_refused(exchange, id, reference, refusal, retry_ms) {
        return actions.into_iter().chain(exchange.end_when_settled()).collect();
    }
    let wish = exchange.membership.refused(reference);
    if let Some(wish) = &wish {
        refused.reference.clone_from(&wish.theirs);
    }
    let mut actions = vec![Action::Output(Output::Event(origin, refused.event()))];
    let retries = !exchange.usage.is_program;
    if let Some(refused) = id.and_then(|id| exchange.outgoing.refuse(id, retries)) {
        exchange.ending.fails();
        actions.extend(refused);
    }
    if let Some(wish) = wish {
        if wish.wish == Wish::Enter && !exchange.membership.is_inside(&wish.channel) {
            exchange.pins.forget(&wish.channel);
        }
        actions.extend(exchange.membership.wish_refused(wish, code, &exchange.target));
    }
    actions.extend(exchange.end_when_settled());
    actions
}

/// Handles the refusal of a request for a file, or of the message that announces one.
fn files_refused(
    exchange: &mut Exchange,
    id: Option<MsgId>,
    reference: Option<&str>,
    refusal: (Code, &str),
    retry_ms: Option<u64>,
) -> Option<Vec<Action>> {
    let Some(id) = id else {
        return exchange.transfers.refused(reference, refusal, retry_ms);
    };
    let (code, hint) = refusal;
    let mut actions = exchange.transfers.not_announced(id, code, hint)?;
    actions.extend(exchange.outgoing.refuse(id, false).into_iter().flatten());
    Some(actions)
}
