//! The PROXY protocol, version 2: a proxy sends the address of its client as the first bytes of a
//! connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_BYTES: usize = 16;

/// A header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The address of the proxy's client. `None` for the proxy's own connections (LOCAL), and for
    /// protocols other than TCP.
    pub source: Option<SocketAddr>,
    pub bytes: usize,
}

/// The bytes have the signature, and are no header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Returns whether the received bytes are a prefix of a header, or begin with its signature.
pub fn begins(received: &[u8]) -> bool {
    let bytes = received.len().min(SIGNATURE.len());
    bytes > 0 && received[..bytes] == SIGNATURE[..bytes]
}

/// Parses a header; `None` if more bytes are needed.
///
/// # Errors
/// Another version, an unknown command, or more bytes than a header may have.
pub fn parse(received: &[u8]) -> Result<Option<Header>, Malformed> {
    if !begins(received) {
        return Err(Malformed);
    }
    let Some((head, rest)) = received.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let bytes = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if HEAD_BYTES + bytes > PROXY_HEADER_BYTES_MAX {
        return Err(Malformed);
    }
    let is_local = match head[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let Some(addresses) = rest.get(..bytes) else { return Ok(None) };
    let source = match head[13] {
        _ if is_local => None,
        0x11 => Some(v4(addresses).ok_or(Malformed)?),
        0x21 => Some(v6(addresses).ok_or(Malformed)?),
        _ => None,
    };
    Ok(Some(Header { source, bytes: HEAD_BYTES + bytes }))
}

/// Source, destination, and the port of each.
fn v4(bytes: &[u8]) -> Option<SocketAddr> {
    let [a, b, c, d, _, _, _, _, high, low, ..] = *bytes.first_chunk::<12>()?;
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

fn v6(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes = bytes.first_chunk::<36>()?;
    let source: [u8; 16] = *bytes.first_chunk()?;
    Some((Ipv6Addr::from(source), u16::from_be_bytes([bytes[32], bytes[33]])).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn sources_of_both_families_are_read() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
        // A TLV follows.
        let bytes = header(0x21, 0x11, &[&v4[..], &[3, 0, 1, 7]].concat());
        let source = Some("203.0.113.9:12345".parse().unwrap());
        assert_eq!(parse(&bytes), Ok(Some(Header { source, bytes: bytes.len() })));
        let ip: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let v6 = [&ip.octets()[..], &[0; 16], &[0, 80, 1, 187]].concat();
        let source = Some("[2001:db8::7]:80".parse().unwrap());
        let bytes = header(0x21, 0x21, &v6);
        assert_eq!(parse(&bytes), Ok(Some(Header { source, bytes: bytes.len() })));
        // A LOCAL header (the proxy's own check), and protocols other than TCP.
        for bytes in [header(0x20, 0x11, &v4), header(0x20, 0, &[]), header(0x21, 0, &[])] {
            assert_eq!(parse(&bytes), Ok(Some(Header { source: None, bytes: bytes.len() })));
        }
    }

    #[test]
    fn other_versions_and_lengths_are_no_header() {
        let bad = [
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x11, &[0; PROXY_HEADER_BYTES_MAX]),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        ];
        for bytes in bad {
            assert_eq!(parse(&bytes), Err(Malformed), "{bytes:?}");
        }
        // A long one is refused by its length alone.
        assert_eq!(parse(&header(0x21, 0x11, &[0; 9_000])[..16]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn a_header_is_whole_only_with_its_last_byte(cut in 1usize..28) {
            let bytes = header(0x21, 0x11, &[7; 12]);
            prop_assert!(begins(&bytes[..cut]));
            prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes);
            let _ = parse(&[&SIGNATURE[..], &bytes].concat());
        }
    }
}
