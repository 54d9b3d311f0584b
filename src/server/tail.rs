//! The newest entries of a place, as the encoded bytes that members get. A position is a count of
//! bytes since the place's log began; a cursor is the position up to which somebody has read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chat::Seq;

/// A chunk is closed to appending at this size, so that one reader takes a bounded span at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A place's log in memory: bounded, oldest dropped first.
pub struct Tail {
    chunks: VecDeque<Span>,
    end: u64,
    seq: Seq,
    bytes_max: usize,
}

/// Consecutive entries, each a line of JSON with its newline.
#[derive(Clone)]
pub struct Span {
    pub start: u64,
    pub bytes: Arc<Vec<u8>>,
}

/// The position lies before what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FellBehind;

impl Span {
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Tail {
    pub fn new(bytes_max: usize) -> Self {
        Tail { chunks: VecDeque::new(), end: 0, seq: Seq(0), bytes_max }
    }

    /// The position after the newest entry.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends an entry that has no seq: a notice.
    pub fn append(&mut self, entry: &[u8]) {
        self.push(&[entry]);
    }

    /// Appends a message and gives it the place's next seq. `fields` is the message's JSON after the
    /// `seq`, from the next key to the closing brace and the newline.
    pub fn append_line(&mut self, fields: &[u8]) -> Seq {
        self.seq.0 += 1;
        let head = format!("{{\"type\":\"message\",\"seq\":\"{}\",", self.seq);
        self.push(&[head.as_bytes(), fields]);
        self.seq
    }

    /// What follows `position`, as far as one chunk goes; none at the end.
    pub fn read(&self, position: u64) -> Result<Option<Span>, FellBehind> {
        if position >= self.end {
            return Ok(None);
        }
        let after = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = after.checked_sub(1).map(|index| &self.chunks[index]);
        chunk.filter(|chunk| position < chunk.end()).cloned().map(Some).ok_or(FellBehind)
    }

    /// Drops what lies before `position`: every member has it.
    pub fn release(&mut self, position: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= position) {
            self.chunks.pop_front();
        }
    }

    fn push(&mut self, parts: &[&[u8]]) {
        // A chunk that somebody is reading is left alone: the next one begins behind it.
        let open = self.chunks.back_mut().filter(|chunk| chunk.bytes.len() < CHUNK_BYTES);
        match open.and_then(|chunk| Arc::get_mut(&mut chunk.bytes)) {
            Some(bytes) => parts.iter().for_each(|part| bytes.extend_from_slice(part)),
            None => {
                self.chunks.push_back(Span { start: self.end, bytes: Arc::new(parts.concat()) })
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
        fn a_cursor_gets_all_that_follows_it_or_learns_that_it_fell_behind(
            sizes in prop::collection::vec(1usize..40_000, 1..60),
            held in any::<bool>(),
        ) {
            let mut tail = Tail::new(200_000);
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
    fn seqs_have_no_holes_and_notices_take_none() {
        let mut tail = Tail::new(1_000);
        assert_eq!(tail.append_line(b"\"a\":1}\n"), Seq(1));
        tail.append(b"{\"type\":\"joined\"}\n");
        assert_eq!(tail.append_line(b"\"a\":2}\n"), Seq(2));
        let text = String::from_utf8(read_all(&tail, 0).unwrap()).unwrap();
        let last = text.lines().last().unwrap();
        assert_eq!(last, "{\"type\":\"message\",\"seq\":\"2\",\"a\":2}");
    }

    #[test]
    fn what_is_released_is_gone_and_what_follows_is_not() {
        let mut tail = Tail::new(1_000);
        tail.append(b"one\n");
        let _held = tail.read(0).unwrap();
        tail.append(b"two\n");
        tail.release(4);
        assert_eq!(tail.read(0).err(), Some(FellBehind));
        assert_eq!(read_all(&tail, 4).unwrap(), b"two\n");
    }
}
