//! Transfer records through a session's send queue and a tunnel.

use std::sync::Arc;

use super::send_queue::{Offered, Outgoing, SendQueue};
use crate::chat::{Event, SessionId};
use crate::crypto::record_cipher::pair;
use crate::crypto::{Fingerprint, RecordType};
use crate::net::memory::{self, Pipe};
use crate::net::tunnel::{Incoming, TunnelReader};
use crate::wire::transfer::{DATA_BYTES_MAX, TransferRecord};

/// A session's queue, its peer, and the pipe between them.
fn session(room: usize) -> (SendQueue, TunnelReader, Arc<Pipe>) {
    let (sealer, opener) = pair([7; 32]);
    let ([own, other], [pipe, _]) = memory::pair(room);
    let outgoing = Outgoing { sink: own.sink, sealer, address: own.peer.ip(), offered: 2 };
    let queue = SendQueue::new(SessionId(1), Fingerprint([7; 32]), outgoing, 1 << 20);
    (queue, TunnelReader::new(other.source, opener), pipe)
}

/// The types of all records that have arrived; transfer records must be the wanted ones.
fn arrived(reader: &mut TunnelReader, pipe: &Pipe, wanted: &[TransferRecord<'_>]) -> String {
    pipe.carry(usize::MAX);
    let (mut kinds, mut wanted) = (String::new(), wanted.iter());
    while let Ok(Incoming::Record(kind, body)) = reader.receive() {
        if kind == RecordType::Binary {
            assert_eq!(TransferRecord::parse(body).as_ref(), Ok(wanted.next().unwrap()));
        }
        kinds.push_str(&u8::from(kind).to_string());
    }
    assert!(wanted.next().is_none());
    kinds
}

#[test]
fn transfer_records_arrive_whole_between_answers() {
    let (queue, mut reader, pipe) = session(usize::MAX);
    let spaces = [b' '; DATA_BYTES_MAX];
    let sent: Vec<_> = [1, 47, 48, 49, 63, 64, 65, DATA_BYTES_MAX]
        .map(|n| TransferRecord::Data { transfer: 0x2020_2020, offset: 32, bytes: &spaces[..n] })
        .into();
    for record in &sent {
        assert_eq!(queue.transfer(&[*record]), Offered::Taken);
        assert!(!queue.answer(&Event::Notice { text: "hi".into(), reference: None }));
    }
    assert_eq!(arrived(&mut reader, &pipe, &sent), "21".repeat(sent.len()));
    let notice = br#"{"type":"notice","text":"hi"}"#.len() + 1;
    assert_eq!(queue.take_answered(), sent.len() * notice, "files are not charged as answers");
}

#[test]
fn records_of_one_call_are_sent_together_or_not_at_all() {
    let (queue, mut reader, pipe) = session(usize::MAX);
    let bytes = [b' '; DATA_BYTES_MAX];
    let records: Vec<_> = (0..4)
        .map(|index| TransferRecord::Data { transfer: 1, offset: index * 16_368, bytes: &bytes })
        .collect();
    assert_eq!(queue.transfer(&records), Offered::Taken);
    assert_eq!(arrived(&mut reader, &pipe, &records), "2222");
    pipe.set_room(20_000);
    assert_eq!(queue.transfer(&records), Offered::Blocked, "the rest is in the sink");
    assert_eq!(queue.transfer(&records[..1]), Offered::StillBlocked);
    pipe.carry(usize::MAX);
    pipe.set_room(usize::MAX);
    assert!(queue.resume());
    assert_eq!(arrived(&mut reader, &pipe, &records), "2222");
}

#[test]
fn a_transfer_record_waits_for_an_empty_queue_and_is_never_kept() {
    let (queue, mut reader, pipe) = session(100);
    let bytes = [7; 1_000];
    let record = TransferRecord::Data { transfer: 1, offset: 0, bytes: &bytes };
    assert_eq!(queue.transfer(&[record]), Offered::Blocked, "the rest is in the sink");
    assert_eq!(queue.transfer(&[record]), Offered::StillBlocked);
    assert!(!queue.answer(&Event::Notice { text: "hi".into(), reference: None }));
    while !queue.resume() {
        pipe.carry(usize::MAX);
    }
    // The record once, then the answer.
    pipe.set_room(usize::MAX);
    assert!(queue.resume());
    assert_eq!(arrived(&mut reader, &pipe, &[record]), "21");
    assert_eq!(queue.transfer(&[record]), Offered::Taken);
    queue.end(None, "quit");
    assert_eq!(queue.transfer(&[record]), Offered::Over);
}
