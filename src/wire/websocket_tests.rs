use super::super::dripping::Dripping;
use super::*;
use proptest::prelude::*;

/// A masked frame, as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x51, 0, 0xff, 0x0a];
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[derive(Debug, PartialEq)]
enum Seen {
    Message(Vec<u8>),
    Pong(Vec<u8>),
    Close,
}

fn read_all(bytes: Vec<u8>, pieces: Vec<usize>, bytes_max: usize) -> io::Result<Vec<Seen>> {
    let mut reader = MessageReader::new(Dripping { bytes, pieces, late: false }, bytes_max);
    let mut seen = Vec::new();
    loop {
        let announced = reader.has_message();
        match reader.read() {
            Ok(Received::Message) => seen.push(Seen::Message(reader.message().to_vec())),
            Ok(Received::Ping) => seen.push(Seen::Pong(reader.pong().to_vec())),
            Ok(Received::Close) => seen.push(Seen::Close),
            Ok(Received::End) => return Ok(seen),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(!announced, "a whole message did not come");
            }
            Err(error) => return Err(error),
        }
        assert!(reader.buffer.len() <= 4 * (bytes_max + BUFFER_BYTES));
    }
}

/// A message in frames, which end where `cuts` say, with a ping before each.
fn fragments(message: &[u8], cuts: &[usize], ping: bool) -> Vec<u8> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (message.len() + 1)).collect();
    ends.push(message.len());
    ends.sort_unstable();
    let (mut bytes, mut begin) = (Vec::new(), 0);
    for (at, end) in ends.iter().enumerate() {
        if ping {
            bytes.extend(frame(0x89, b"still here?"));
        }
        let fin = if at + 1 == ends.len() { 0x80 } else { 0 };
        let opcode = if at == 0 { BINARY } else { CONTINUATION };
        bytes.extend(frame(fin | opcode, &message[begin..*end]));
        begin = *end;
    }
    bytes
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut(
        messages in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..5_000), prop::collection::vec(any::<usize>(), 0..20), any::<bool>()),
            0..6,
        ),
        pieces in prop::collection::vec(1usize..4_000, 0..60),
    ) {
        let mut bytes = Vec::new();
        for (message, cuts, ping) in &messages {
            bytes.extend(fragments(message, cuts, *ping));
        }
        let seen = read_all(bytes, pieces, 16_400).unwrap();
        let (pongs, read): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|seen| matches!(seen, Seen::Pong(_)));
        let sent: Vec<_> = messages.iter().map(|(message, ..)| Seen::Message(message.clone())).collect();
        prop_assert_eq!(read, sent);
        let pings: usize = messages.iter().filter(|one| one.2).map(|one| one.1.len() + 1).sum();
        prop_assert_eq!(pongs.len(), pings);
        let pong = [&[0x8a, 11][..], b"still here?"].concat();
        prop_assert!(pongs.iter().all(|one| *one == Seen::Pong(pong.clone())));
    }

    #[test]
    fn a_cut_stream_is_an_error_and_never_a_message(cut in 1usize..15) {
        let mut bytes = frame(0x82, &[7; 9]);
        bytes.truncate(cut);
        let read = read_all(bytes, vec![], 65_535);
        prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(bytes, vec![400, 1], 200);
    }
}

#[test]
fn frames_that_no_client_sends_end_the_connection() {
    let unmasked = [&[0x82, 3][..], b"abc"].concat();
    let mut long_head = vec![0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0];
    long_head.extend([0; 125]);
    let cases = [
        ("text", frame(0x81, b"hello")),
        ("the rest of a text", [frame(0x01, b"he"), frame(0x80, b"llo")].concat()),
        ("no mask", unmasked),
        ("rsv1, as of permessage-deflate", frame(0xc2, b"abc")),
        ("rsv2", frame(0xa2, b"abc")),
        ("rsv3", frame(0x92, b"abc")),
        ("an unknown opcode", frame(0x83, b"abc")),
        ("an unknown control frame", frame(0x8b, b"abc")),
        ("a ping in parts", frame(0x09, b"abc")),
        ("a close in parts", frame(0x08, b"")),
        ("a long ping", frame(0x89, &[0; 126])),
        ("the rest of nothing", frame(0x80, b"abc")),
        ("a message inside one", [frame(0x02, b"a"), frame(0x82, b"b")].concat()),
        ("too long", frame(0x82, &[0; 201])),
        ("too long in 64 bits", frame(0x82, &[0; 70_000])),
        ("too long in parts", [frame(0x02, &[0; 150]), frame(0x80, &[0; 51])].concat()),
        ("a length in too many bytes", long_head),
        ("only pings", frame(0x89, b"").repeat(RECORD_FRAMES_MAX + 1)),
        ("only pongs", frame(0x8a, b"").repeat(RECORD_FRAMES_MAX + 1)),
        (
            "empty fragments",
            [frame(0x02, b""), frame(0x00, b"").repeat(RECORD_FRAMES_MAX)].concat(),
        ),
    ];
    for (case, bytes) in cases {
        let read = read_all(bytes, vec![100_000], 200);
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{case}");
    }
    // The controls: the longest message, as many frames as there may be, a close.
    let pings = frame(0x89, b"").repeat(RECORD_FRAMES_MAX - 1);
    let good = [pings, frame(0x82, &[5; 200]), frame(0x88, &[3, 232])].concat();
    let seen = read_all(good, vec![100_000], 200).unwrap();
    assert_eq!(seen[RECORD_FRAMES_MAX - 1..], [Seen::Message(vec![5; 200]), Seen::Close]);
}

#[test]
fn a_long_message_is_refused_by_its_head_alone() {
    for head in [&[0x82, 0x80 | 126, 0, 201][..], &[0x82, 0x80 | 127]] {
        let mut reader = MessageReader::new(head, 200);
        assert_eq!(reader.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn heads_of_a_server_are_short() {
    for (bytes, head_bytes) in [(0, 2), (125, 2), (126, 4), (255, 4), (16_400, 4)] {
        let mut out = Vec::new();
        head(bytes, &mut out);
        assert_eq!((out.len(), out[0]), (head_bytes, 0x82));
        let told =
            if head_bytes == 2 { out[1].into() } else { u16::from_be_bytes([out[2], out[3]]) };
        assert_eq!(usize::from(told), bytes);
        assert_eq!(head_bytes == 4, out[1] == 126);
    }
}

#[test]
fn a_key_is_answered_as_the_rfc_does() {
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for key in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ= ", "AAAA", "%"] {
        assert_eq!(accept_key(key), None, "{key}");
    }
}

#[test]
fn texts_have_lengths_of_64_bits_where_they_may_be_long() {
    let read = |bytes: Vec<u8>, bytes_max| {
        let mut reader = MessageReader::of_texts(&bytes[..], bytes_max);
        reader.read().map(|received| (received, reader.message().len()))
    };
    for bytes in [0, 125, 126, 65_535, 65_536, 1 << 20] {
        let (received, read) = read(frame(0x81, &vec![b'a'; bytes]), 1 << 20).unwrap();
        assert_eq!((received, read), (Received::Message, bytes));
    }
    let mut padded = vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    padded.resize(padded.len() + 0xffff, b'a');
    let declared = |bytes: u64| [&[0x81, 0x80 | 127][..], &bytes.to_be_bytes(), &[0; 4]].concat();
    let cases = [
        ("too long", frame(0x81, &[b'a'; (1 << 20) + 1])),
        ("a length in too many bytes", padded),
        ("a declared length alone", declared(u64::MAX)),
        ("binary", frame(0x82, b"{}")),
        ("parts of two types", [frame(0x01, b"{"), frame(0x82, b"}")].concat()),
    ];
    for (case, bytes) in cases {
        let read = read(bytes, 1 << 20).map_err(|error| error.kind());
        assert_eq!(read, Err(io::ErrorKind::InvalidData), "{case}");
    }
    for (bytes, head_bytes) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
        let mut out = Vec::new();
        text_head(bytes, &mut out);
        assert_eq!((out[0], out.len()), (0x81, head_bytes));
    }
}
