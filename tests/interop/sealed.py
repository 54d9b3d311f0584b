"""What lies inside the hop from end to end, written from docs/protocol.md alone: certificates,
private messages, channels with a PIN. Bytes in, bytes out."""

import struct
import unicodedata

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

import hop
from hop import HopError, hkdf, hmac_sha256, open_sealed, seal, sha256

TEXT, FILE = 0, 1
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"pychat/1 pm")


def raw(key):
    return key.public_key().public_bytes_raw()


def pad(content):
    padded = struct.pack(">H", len(content)) + content
    return padded + bytes(-len(padded) % 64)


def unpad(padded):
    (length,) = struct.unpack(">H", padded[:2])
    content = padded[2 : 2 + length]
    if pad(content) != padded:
        raise HopError("not how a content is padded")
    return content


def read(header_, padded):
    """The text, or None where the content is of an unknown type."""
    content = unpad(padded)
    kind, type_ = header_[24:26]
    return content.decode() if type_ == (FILE if kind == 4 else TEXT) else None


def header(fields):
    """A header's bytes, of its fields in hex or as numbers."""
    kind = bytes([fields["kind"], fields["content"]])
    time, n = struct.pack(">Q", fields["time_ms"]), struct.pack(">Q", fields["n"])
    id, of, session, prev = (bytes.fromhex(fields[x]) for x in ["id", "of", "session", "prev"])
    return id + time + kind + of + session + n + prev


def fold(name):
    return unicodedata.normalize("NFC", name.lower()).encode()


def context(server, sender, conversation):
    """`server` is the fingerprint of its first key; `conversation` is "#name~tag" or "@recipient"."""
    kind, sender, name = conversation[0] == "@", fold(sender), fold(conversation[1:])
    parts = b"pychat/1 context", server, bytes([len(sender)]), sender, bytes([kind, len(name)]), name
    return sha256(b"".join(parts))


def number(header):
    """The number of a message in its session."""
    return int.from_bytes(header[-40:-32], "big")


def previous(header):
    """The hash of the sender's message before this one."""
    return header[-32:]


def body_hash(body):
    return sha256(b"pychat/1 message" + body)


# Certificates


def certify(identity, server, signing, opening, now):
    """`server` is the fingerprint of its first key."""
    signed = b"pychat/1 cert" + server + hop.fingerprint(identity.public_key())
    signed += raw(signing) + raw(opening)
    signed += struct.pack(">QQ", now - 86400, now + 28 * 86400)
    return signed + identity.sign(signed, PSS, hashes.SHA256())


def check_certificate(certificate, key, server):
    """Gives the device's two public keys."""
    signed, signature = certificate[:157], certificate[157:]
    try:
        key.verify(signature, signed, PSS, hashes.SHA256())
    except InvalidSignature:
        raise HopError("a certificate of another key") from None
    if not signed.startswith(b"pychat/1 cert" + server + hop.fingerprint(key)):
        raise HopError("not a certificate of this key for this server")
    return signed[77:109], signed[109:141]


def check_signature(certificate, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(certificate[77:109]).verify(signature, message)
    except InvalidSignature:
        raise HopError("a forged message") from None


# Private messages


def wrap_key(aad, r, shared):
    """`shared` is empty for a device that has no certificate."""
    return hkdf(sha256(aad), r + shared, b"pychat/1 pm key" if shared else b"pychat/1 pm rsa key", 32)


def device_id(device):
    return device if len(device) == 32 else sha256(device)


def seal_private(context_, header_, content, certificate, signing, devices, message_key, fresh):
    """`devices` are certificates, or fingerprints of keys that have none; `fresh` gives a ciphertext,
    its r and a new X25519 key for one."""
    clear = b"\x01" + certificate + header_
    clear += bytes([len(devices)]) + b"".join(map(device_id, devices))
    wraps = b""
    for device in devices:
        ct, r, eph = fresh(device)
        public, shared = bytes(32), b""
        if len(device) > 32:
            public = raw(eph)
            shared = eph.exchange(X25519PublicKey.from_public_bytes(device[109:141]))
        aad = b"pychat/1 pm" + context_ + clear + ct + public
        wraps += ct + public + seal(wrap_key(aad, r, shared), 0, aad, message_key)
    digest, padded = sha256(b"pychat/1 pm" + context_ + clear + wraps), pad(content)
    signature = signing.sign(b"pychat/1 pm sig" + digest + sha256(padded))
    return clear + wraps + seal(message_key, 0, digest, padded + signature)


def open_private(context_, body, identity, own, opening, sender):
    """`own` and `sender` are certificates; `own` is a fingerprint where it has none. Gives the header and
    the text."""
    header_, count, start = body[542:640], body[640], 641
    if body[0] != 1 or body[1:542] != sender:
        raise HopError("not a message of this sender")
    devices = [body[start + 32 * at : start + 32 * at + 32] for at in range(count)]
    start += 32 * count
    clear, wraps, text = body[:start], body[start : start + 464 * count], body[start + 464 * count :]
    at = 464 * devices.index(device_id(own))
    ct, eph, wrapped = wraps[at : at + 384], wraps[at + 384 : at + 416], wraps[at + 416 : at + 464]
    shared = opening.exchange(X25519PublicKey.from_public_bytes(eph)) if len(own) > 32 else b""
    aad = b"pychat/1 pm" + context_ + clear + ct + eph
    message_key = open_sealed(wrap_key(aad, identity.decrypt(ct, OAEP), shared), 0, aad, wrapped)
    digest = sha256(b"pychat/1 pm" + context_ + clear + wraps)
    plain = open_sealed(message_key, 0, digest, text)
    padded, signature = plain[:-64], plain[-64:]
    check_signature(sender, b"pychat/1 pm sig" + digest + sha256(padded), signature)
    return header_, read(header_, padded)


# Channels with a PIN


def expand(key, info):
    return hmac_sha256(key, info + b"\x01")


class PinChannel:
    def __init__(self, pin, server, name):
        pin = unicodedata.normalize("NFC", pin).encode()
        salt = sha256(b"pychat/1 chan" + server + name.encode())[:16]
        cost = {"iterations": 3, "lanes": 1, "memory_cost": 65536}
        self.root = Argon2id(salt=salt, length=32, **cost).derive(pin)
        self.id, self.key = expand(self.root, b"id")[:16], expand(self.root, b"key")
        self.tag = hop.crockford(self.id + bytes(1), 26).lower()

    def aad(self, context_, certificate, head):
        return b"pychat/1 pin" + context_ + self.id + sha256(certificate) + head

    def message_key(self, aad):
        return expand(self.key, b"send" + sha256(aad))

    def seal(self, context_, header_, content, certificate, signing, salt):
        """`salt` is 16 random bytes."""
        head, inner = header_[42:66] + header_[:16] + salt, header_[16:42] + header_[66:]
        aad, padded = self.aad(context_, certificate, head), pad(content)
        signature = signing.sign(b"pychat/1 pin sig" + sha256(aad) + sha256(inner + padded))
        sealed_ = seal(self.message_key(aad), 0, aad, inner + padded + signature)
        return b"\x01" + certificate + head + sealed_

    def open(self, context_, body, certificate):
        """Gives the header and the text."""
        head, sealed_ = body[542:598], body[598:]
        if body[0] != 1 or body[1:542] != certificate:
            raise HopError("not a message of this sender")
        aad = self.aad(context_, certificate, head)
        plain = open_sealed(self.message_key(aad), 0, aad, sealed_)
        inner, padded, signature = plain[:58], plain[58:-64], plain[-64:]
        message = b"pychat/1 pin sig" + sha256(aad) + sha256(inner + padded)
        check_signature(certificate, message, signature)
        header_ = head[24:40] + inner[:26] + head[:24] + inner[26:]
        return header_, read(header_, padded)
