//! The tail of a conversation: its newest entries, encoded as members receive them. A position
//! counts bytes since the log began; a cursor is the position up to which a session has read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chat::Seq;

/// The size at which a chunk is closed, which bounds what one read returns.
const CHUNK_BYTES: usize = 64 * 1024;

/// The digits of the greatest seq.
const DIGITS_MAX: usize = 20;

/// Writes a number into the end of `digits`, which is faster than formatting it. Returns its
/// digits.
fn decimal(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut from = DIGITS_MAX;
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[from..];
        }
    }
}

/// A conversation's log in memory: bounded, the oldest entries dropped first.
pub struct Tail {
    chunks: VecDeque<Span>,
    end: u64,
    seq: Seq,
    bytes_max: usize,
}

/// Consecutive entries, each a line of JSON.
#[derive(Clone)]
pub struct Span {
    pub start: u64,
    pub bytes: Arc<Vec<u8>>,
    /// The conversation's newest seq at the end of the span.
    pub end_seq: Seq,
}

/// The position is before the oldest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FellBehind;

impl Span {
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Tail {
    /// `last` is the conversation's newest seq so far.
    pub fn new(bytes_max: usize, last: Seq) -> Self {
        Tail { chunks: VecDeque::new(), end: 0, seq: last, bytes_max }
    }

    /// Returns the conversation's newest seq.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the position after the newest entry.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends an entry without a seq: a notice.
    pub fn append(&mut self, entry: &[u8]) {
        self.push(&[entry]);
    }

    /// Appends a message that was committed under `seq`, which is put in front of `fields` (an
    /// object's or, in the short form, an array's) with a newline at the end. Returns false if the
    /// tail has the message already. After missing messages, all readers have fallen behind and
    /// read from the ledger.
    pub fn append_message(&mut self, seq: Seq, fields: &[u8]) -> bool {
        if seq <= self.seq {
            return false;
        }
        if seq.0 > self.seq.0 + 1 {
            self.chunks.clear();
            // No earlier position may equal the start of what follows.
            self.end += 1;
        }
        self.seq = seq;
        let (open, rest) = fields.split_at(1);
        let head: &[u8] = match open {
            b"[" => b"[\"",
            _ => b"{\"type\":\"message\",\"seq\":\"",
        };
        let mut digits = [0; DIGITS_MAX];
        self.push(&[head, decimal(seq.0, &mut digits), b"\",", rest]);
        true
    }

    /// Returns what follows `position`, at most to the end of a chunk; `None` at the end.
    pub fn read(&self, position: u64) -> Result<Option<Span>, FellBehind> {
        if position >= self.end {
            return Ok(None);
        }
        let after = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = after.checked_sub(1).map(|index| &self.chunks[index]);
        chunk.filter(|chunk| position < chunk.end()).cloned().map(Some).ok_or(FellBehind)
    }

    /// Drops what is before `position`, which every member has.
    pub fn release(&mut self, position: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= position) {
            self.chunks.pop_front();
        }
    }

    fn push(&mut self, parts: &[&[u8]]) {
        // A chunk that is being read is not changed: a new one is started.
        let end_seq = self.seq;
        let open = self.chunks.back_mut().filter(|chunk| chunk.bytes.len() < CHUNK_BYTES);
        let open = open.and_then(|chunk| {
            let bytes = Arc::get_mut(&mut chunk.bytes)?;
            chunk.end_seq = end_seq;
            Some(bytes)
        });
        match open {
            Some(bytes) => parts.iter().for_each(|part| bytes.extend_from_slice(part)),
            None => {
                let bytes = Arc::new(parts.concat());
                self.chunks.push_back(Span { start: self.end, bytes, end_seq });
            }
        }
        self.end += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        while self.chunks.len() > 1 && self.end - self.chunks[1].start >= self.bytes_max as u64 {
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(tail: &Tail, mut position: u64) -> Result<Vec<u8>, FellBehind> {
        let mut all = Vec::new();
        while let Some(span) = tail.read(position)? {
            all.extend_from_slice(&span.bytes[(position - span.start) as usize..]);
            position = span.end();
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn a_cursor_reads_all_that_follows_or_falls_behind(
            sizes in prop::collection::vec(1usize..40_000, 1..60),
            held in any::<bool>(),
        ) {
            let mut tail = Tail::new(200_000, Seq(0));
            let (mut log, mut holds) = (Vec::new(), Vec::new());
            for (number, size) in sizes.iter().enumerate() {
                let entry = vec![number as u8; *size];
                let before = tail.end();
                tail.append(&entry);
                log.extend_from_slice(&entry);
                let span = tail.read(before).unwrap().unwrap();
                prop_assert_eq!(&span.bytes[(before - span.start) as usize..], &entry[..]);
                if held { holds.push(span); }
            }
            prop_assert_eq!(tail.end(), log.len() as u64);
            let kept = log.len().saturating_sub(200_000);
            prop_assert_eq!(read_all(&tail, kept as u64).unwrap(), &log[kept..]);
            for position in [0, log.len() as u64 / 2, log.len() as u64] {
                if let Ok(bytes) = read_all(&tail, position) {
                    prop_assert_eq!(bytes, &log[position as usize..]);
                }
            }
            let memory: usize = tail.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
            prop_assert!(memory <= 200_000 + CHUNK_BYTES + 40_000);
        }
    }

    #[test]
    fn seqs_are_written_in_decimal() {
        for number in [0, 7, 10, 999, 1_000, 18_446_744_073_709_551_615] {
            let mut digits = [0; DIGITS_MAX];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_span_has_the_seq_at_its_end_and_notices_have_none() {
        let mut tail = Tail::new(1_000, Seq(6));
        tail.append_message(Seq(7), b"[1]\n");
        tail.append(b"{\"type\":\"joined\"}\n");
        let held = tail.read(0).unwrap().unwrap();
        tail.append_message(Seq(8), b"{\"a\":2}\n");
        assert_eq!((held.end_seq, tail.seq()), (Seq(7), Seq(8)));
        assert_eq!(tail.read(held.end()).unwrap().unwrap().end_seq, Seq(8));
        let text = String::from_utf8(read_all(&tail, 0).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[\"7\",1]");
        assert_eq!(lines[2], "{\"type\":\"message\",\"seq\":\"8\",\"a\":2}");
    }

    #[test]
    fn released_entries_are_dropped_and_later_ones_stay() {
        let mut tail = Tail::new(1_000, Seq(0));
        tail.append(b"one\n");
        let _held = tail.read(0).unwrap();
        tail.append(b"two\n");
        tail.release(4);
        assert_eq!(tail.read(0).err(), Some(FellBehind));
        assert_eq!(read_all(&tail, 4).unwrap(), b"two\n");
    }

    #[test]
    fn a_message_is_appended_once_and_a_missing_one_is_detected() {
        let mut tail = Tail::new(200_000, Seq(6));
        assert!(tail.append_message(Seq(7), b"[\"seven\"]\n"));
        let seven = tail.end();
        assert!(!tail.append_message(Seq(7), b"[\"again\"]\n") && tail.end() == seven);
        assert!(!tail.append_message(Seq(3), b"[\"older\"]\n") && tail.seq() == Seq(7));
        assert!(tail.append_message(Seq(9), b"[\"nine\"]\n"));
        for position in [0, seven] {
            assert_eq!(tail.read(position).err(), Some(FellBehind), "eight is missing");
        }
        assert_eq!(tail.seq(), Seq(9));
        let nine = tail.end();
        assert!(tail.append_message(Seq(10), b"[\"ten\"]\n"));
        assert_eq!(read_all(&tail, nine).unwrap(), b"[\"10\",\"ten\"]\n");
    }
}
