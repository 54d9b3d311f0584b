"""Encrypted files, from docs/protocol.md, "Encrypted files"."""

import hashlib
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import hop

CHUNK = 65_536


def padme(size):
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def padded_size(size, hides_size):
    return max(4096, padme(size)) if hides_size else size


def chunks(padded):
    return max(1, -(-padded // CHUNK))


def key(secret, blob, padded):
    return hop.hkdf(b"pychat/1 file", secret, blob + struct.pack(">Q", padded), 32)


def nonce(index, padded):
    return struct.pack(">IQ", index == chunks(padded) - 1, index)


def seal(secret, blob, file, hides_size):
    """All that a server stores of a file."""
    padded = padded_size(len(file), hides_size)
    aead, text = AESGCM(key(secret, blob, padded)), file.ljust(padded, bytes(1))
    parts = (text[at * CHUNK : (at + 1) * CHUNK] for at in range(chunks(padded)))
    return b"".join(aead.encrypt(nonce(at, padded), part, b"") for at, part in enumerate(parts))


def open_sealed(secret, blob, size, hides_size, stored):
    """The file that was sealed, of this size."""
    padded = padded_size(size, hides_size)
    if len(stored) != padded + 16 * chunks(padded):
        raise hop.HopError("the blob has another size")
    aead, text = AESGCM(key(secret, blob, padded)), b""
    for at in range(chunks(padded)):
        part = stored[at * (CHUNK + 16) : (at + 1) * (CHUNK + 16)]
        try:
            text += aead.decrypt(nonce(at, padded), part, b"")
        except InvalidTag:
            raise hop.HopError(f"chunk {at} does not open") from None
    if any(text[size:]):
        raise hop.HopError("the padding is not zero")
    return text[:size]


def file_hash(file):
    digests = (hashlib.sha256(file[at : at + CHUNK]).digest() for at in range(0, len(file), CHUNK))
    return hop.sha256(b"pychat/1 file hash" + struct.pack(">Q", len(file)) + b"".join(digests))
