//! Splits bodies into records.

use crate::crypto::record_cipher::RECORD_BODY_BYTES_MAX;

/// Returns the body of one record and the rest. Splits between messages where possible. A longer
/// message continues in the next record, and is split after a byte that is not taken for padding.
pub fn split(body: &[u8]) -> (&[u8], &[u8]) {
    let most = body.len().min(RECORD_BODY_BYTES_MAX);
    if most == body.len() {
        return (body, &[]);
    }
    let head = &body[..most];
    let behind = |index: usize| index + 1;
    let message = head.iter().rposition(|byte| *byte == b'\n');
    let part = || head.iter().rposition(|byte| *byte != b' ');
    body.split_at(message.or_else(part).map_or(most, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Parts;

    #[test]
    fn records_are_cut_between_messages() {
        let message = [vec![b'x'; 5_999], vec![b'\n']].concat();
        let body = message.repeat(6);
        let mut rest = &body[..];
        let mut sizes = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = split(rest);
            assert!(head.ends_with(b"\n") && head.len() <= RECORD_BODY_BYTES_MAX);
            sizes.push(head.len());
            rest = tail;
        }
        assert_eq!(sizes, [12_000; 3]);
    }

    #[test]
    fn a_message_longer_than_a_record_is_split_before_no_padding() {
        let spaces =
            [vec![b'x'; RECORD_BODY_BYTES_MAX - 3], vec![b' '; 50], b"y\n".to_vec()].concat();
        for body in [vec![b'x'; 40_000], spaces] {
            let mut parts = Parts::default();
            let mut joined = Vec::new();
            let mut rest = &[&body[..], b"\n"].concat()[..];
            while !rest.is_empty() {
                let (head, tail) = split(rest);
                assert!(!head.is_empty() && head.len() <= RECORD_BODY_BYTES_MAX);
                assert_ne!(head.last(), Some(&b' '), "a trailing blank would be taken for padding");
                joined.extend_from_slice(parts.join(head).expect("short enough"));
                rest = tail;
            }
            assert_eq!(joined, [&body[..], b"\n"].concat());
        }
    }
}
