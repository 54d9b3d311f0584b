//! Files between the user, the server and the engine: wishes and answers for the transfers.

use super::action::{Action, declined, error};
use super::exchange::Exchange;
use crate::chat::{Code, Event, MsgId, Target};
use crate::client::transfer::{Report, TransferId, Wish};

/// Begins what a user or a program wants. The bare name of a channel means the one channel of
/// that name that the client is in, unless it was named `exactly`.
pub fn wish(
    exchange: &mut Exchange,
    mut wish: Wish,
    exactly: bool,
    reference: Option<String>,
    chance: [u8; 16],
) -> Vec<Action> {
    let begun = resolve(exchange, wish.conversation(), exactly)
        .and_then(|()| exchange.transfers.begin(wish, MsgId(chance), reference.clone()));
    begun.unwrap_or_else(|problem| {
        exchange.ending.fails();
        vec![declined(Code::BadRequest, problem, reference)]
    })
}

fn resolve(exchange: &Exchange, to: &mut Target, exactly: bool) -> Result<(), String> {
    if let Target::Channel(channel) = to
        && !channel.has_pin()
        && !channel.is_lobby()
        && !exactly
    {
        if exchange.pins.is_busy() {
            return Err(format!(
                "the key of a channel is being derived: name {channel} again in a moment"
            ));
        }
        *channel = exchange.membership.channel(&channel.to_string())?;
    }
    exchange.membership.is_gone(to).map_or(Ok(()), Err)
}

/// Handles a report of the engine.
pub fn report(exchange: &mut Exchange, id: TransferId, report: Report) -> Vec<Action> {
    let mut actions = exchange.transfers.report(id, report);
    actions.extend(exchange.end_when_settled());
    actions
}

/// Handles an event of the server about files.
pub fn event(exchange: &mut Exchange, event: Event) -> Vec<Action> {
    let transfers = &mut exchange.transfers;
    let mut actions = match event {
        Event::Upload { transfer, blob, have, limit, reference } => {
            transfers.uploads(reference.as_deref(), blob, (transfer, have.0, limit.0))
        }
        Event::Download { transfer, blob, bytes, reference } => {
            transfers.downloads(reference.as_deref(), blob, (transfer, bytes.0))
        }
        Event::Stopped { transfer, code, hint } => transfers.stopped(transfer, code, hint),
        Event::Kept { blob, .. } => match transfers.kept(blob) {
            Some((mut actions, message)) => {
                // It may have been written to the outbox before the last run has ended.
                if !exchange.outgoing.holds(message.id) {
                    actions.extend(exchange.post(message));
                }
                actions
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    actions.extend(exchange.end_when_settled());
    actions
}

pub fn cancel(exchange: &mut Exchange, id: TransferId) -> Vec<Action> {
    match exchange.transfers.cancel(id) {
        Ok(mut actions) => {
            actions.extend(exchange.end_when_settled());
            actions
        }
        Err(problem) => {
            exchange.ending.fails();
            vec![error(problem)]
        }
    }
}
