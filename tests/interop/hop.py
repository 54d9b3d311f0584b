"""The client's half of pychat's hop, written from docs/protocol.md alone: keys, key lines, the key
request, the handshake and the records. Bytes in, bytes out."""

import base64
import copy
import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAMES = {
    1: b"Noise_pqKX_X25519DHKEM+RSAOAEP3072_AESGCM_SHA256",
    2: b"Noise_pqKX_X25519DHKEM-MLKEM768+RSAOAEP3072_AESGCM_SHA256",
}
# Of the public key in R1 and of the encapsulation in R2, by suite.
PUBLIC_BYTES, ENCAPSULATION_BYTES = {1: 32, 2: 1216}, {1: 32, 2: 1120}
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
JSON, TRANSFER, PING, PONG, CLOSE, LOGIN = 1, 2, 3, 4, 5, 6


class HopError(Exception):
    """The other side is not who it should be, or does not keep to the protocol."""


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac_sha256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(salt, ikm, info, length):
    return HKDF(hashes.SHA256(), length, salt, info).derive(ikm)


def nonce(counter):
    return bytes(4) + struct.pack(">Q", counter)


def seal(key, counter, aad, plain):
    return AESGCM(key).encrypt(nonce(counter), plain, aad)


def open_sealed(key, counter, aad, sealed):
    try:
        return AESGCM(key).decrypt(nonce(counter), sealed, aad)
    except InvalidTag:
        raise HopError("a ciphertext does not open") from None


# Keys and lines


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def modulus(key):
    """A public key on the wire."""
    return key.public_numbers().n.to_bytes(384, "big")


def public_key(wire):
    key = rsa.RSAPublicNumbers(65537, int.from_bytes(wire, "big")).public_key()
    if len(wire) != 384 or key.key_size != 3072:
        raise HopError("not an RSA-3072 modulus")
    return key


def spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key):
    return sha256(spki(key))


def shown(print_):
    return "SHA256:" + base64.b64encode(print_).decode().rstrip("=")


def crockford(data, letters):
    bits = int.from_bytes(data, "big")
    return "".join(CROCKFORD[bits >> 8 * len(data) - 5 * (at + 1) & 31] for at in range(letters))


def spoken(print_):
    letters = crockford(print_, 20)
    return "-".join(letters[at : at + 5] for at in range(0, 20, 5))


def key_line(name, key):
    plain = all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    line = f"pychat-key1.{name if plain else '-' + base64url(name.encode())}.{base64url(spki(key))}"
    return f"{line}.{crockford(sha256(line.encode()), 4).lower()}"


def parse_invite(text):
    """Host, port, the server's fingerprint and its first key's, which is a claim until it is proven."""
    scheme, _, rest = "".join(text.split()).partition("://")
    server, _, prints = rest.partition("/")
    print_, _, founding = prints.partition("/")
    host, colon, port = server.rpartition(":")
    if scheme != "pychat" or not colon or len(print_) != 43 or len(founding) not in (0, 43):
        raise HopError("not an invite")
    host = host.removeprefix("[").removesuffix("]")
    return host, int(port), from_base64url(print_), from_base64url(founding or print_)


def follows(old, new, signatures):
    """Raises unless the server keys `old` and `new` have both signed that `new` follows `old`."""
    if len(signatures) != 768 or fingerprint(old) == fingerprint(new):
        raise HopError("not the signatures of two keys")
    for role, key, signature in [(b"old", old, signatures[:384]), (b"new", new, signatures[384:])]:
        signed = b"pychat/1 next server key" + role + fingerprint(old) + fingerprint(new)
        key.verify(signature, signed, PSS, hashes.SHA256())


# Key request


def ask_keys(print_, nonce_):
    salt = b"pychat/1 key request"
    return hkdf(salt, print_, b"ask", 32), hkdf(salt, print_, b"answer" + nonce_, 32)


def ask(print_, nonce_):
    head = b"PYCHAT?1" + nonce_
    return head + hmac_sha256(ask_keys(print_, nonce_)[0], head)


def read_answer(print_, nonce_, answer):
    key = public_key(open_sealed(ask_keys(print_, nonce_)[1], 0, b"", answer))
    if fingerprint(key) != print_:
        raise HopError("the answer holds another key")
    return key


# Lineage


def lineage_key(print_, nonce_):
    return hkdf(b"pychat/1 key request", print_, b"lineage" + nonce_, 32)


def ask_lineage(print_, nonce_):
    head = b"PYCHAT<1" + nonce_
    return head + hmac_sha256(ask_keys(print_, nonce_)[0], head)


def read_lineage(print_, nonce_, answer):
    """The server's key, and the keys before it, the first one first."""
    plain = open_sealed(lineage_key(print_, nonce_), 0, b"", answer)
    own, links = public_key(plain[:384]), plain[384:]
    if fingerprint(own) != print_ or len(links) % 1152 or len(links) > 13 * 1152:
        raise HopError("the answer holds another key, or half a link")
    links = [links[at : at + 1152] for at in range(0, len(links), 1152)]
    keys = [public_key(link[:384]) for link in links]
    for link, old, new in zip(links, keys, keys[1:] + [own]):
        follows(old, new, link[384:])
    return own, keys


# The first record of a client


def r0_key(print_):
    return hkdf(b"pychat/1 hello", print_, b"", 32)


def r0_mac(print_, head):
    return hmac_sha256(r0_key(print_), head)[:16]


def bitmap(suites):
    return sum(1 << suite - 1 for suite in set(suites))


def make_r0(print_, suites, nonce_):
    head = b"PYCHAT/1" + struct.pack(">H", bitmap(suites)) + nonce_
    return head + r0_mac(print_, head)


# KEMs

OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"pychat/1 hop")
REJECTION = os.urandom(32)


def rsa_encap(key):
    ss = os.urandom(32)
    return key.encrypt(ss, OAEP), ss


def rsa_decap(own, ct):
    try:
        ss = own.decrypt(ct, OAEP)
    except ValueError:
        ss = b""
    return ss if len(ss) == 32 else hmac_sha256(REJECTION, ct)


def dhkem_secret(dh, enc, pk):
    """ExtractAndExpand of RFC 9180, section 4.1."""
    suite = b"KEM" + struct.pack(">H", 0x20)
    prk = hmac_sha256(b"", b"HPKE-v1" + suite + b"eae_prk" + dh)
    info = struct.pack(">H", 32) + b"HPKE-v1" + suite + b"shared_secret" + enc + pk
    return hmac_sha256(prk, info + b"\x01")


def dhkem_encap(own, pk):
    enc = own.public_key().public_bytes_raw()
    return enc, dhkem_secret(own.exchange(X25519PublicKey.from_public_bytes(pk)), enc, pk)


def dhkem_decap(own, enc):
    dh = own.exchange(X25519PublicKey.from_public_bytes(enc))
    return dhkem_secret(dh, enc, own.public_key().public_bytes_raw())


def hybrid_secret(of_x25519, of_mlkem):
    return hkdf(b"pychat/1 X25519 and ML-KEM-768", of_mlkem + of_x25519, b"", 32)


def is_reduced(key):
    """The modulus check of FIPS 203, section 7.2."""
    triples = zip(key[0:1152:3], key[1:1152:3], key[2:1152:3], strict=True)
    return all(a | (b & 15) << 8 < 3329 and b >> 4 | c << 4 < 3329 for a, b, c in triples)


def mlkem_encap(key):
    if not is_reduced(key):
        raise HopError("not an encapsulation key of ML-KEM-768")
    secret, ct = MLKEM768PublicKey.from_public_bytes(key).encapsulate()
    return ct, secret


def ephemeral_encap(suite, public, own, mlkem=mlkem_encap):
    """To the public key in R1."""
    enc, secret = dhkem_encap(own, public[:32])
    if suite == 1:
        return enc, secret
    ct, of_mlkem = mlkem(public[32:])
    return enc + ct, hybrid_secret(secret, of_mlkem)


# Handshake


BY_TICKET = b"pychat/1 session ticket"


class Symmetric:
    def __init__(self, suite, r0, server):
        self.h = self.ck = sha256(NAMES[suite])
        self.k, self.n = None, 0
        self.mix_hash(r0)
        self.mix_hash(modulus(server))

    def mix_hash(self, data):
        self.h = sha256(self.h + data)

    def mix_key(self, secret):
        out = hkdf(self.ck, secret, b"", 64)
        self.ck, self.k, self.n = out[:32], out[32:], 0

    def mix_key_and_hash(self, secret):
        out = hkdf(self.ck, secret, b"", 96)
        self.ck, self.k, self.n = out[:32], out[64:], 0
        self.mix_hash(out[32:64])

    def encrypt_and_hash(self, plain):
        sealed = seal(self.k, self.n, self.h, plain)
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed):
        plain = open_sealed(self.k, self.n, self.h, sealed)
        self.n += 1
        self.mix_hash(sealed)
        return plain

    def copy(self):
        return copy.copy(self)

    def split(self):
        out = hkdf(self.ck, b"", b"", 64)
        return out[:32], out[32:]


class Handshake:
    """The client's, between R0 and R3."""

    def __init__(self, own, server, suites=(2,), nonce_=None):
        self.own, self.server, self.suites = own, server, suites
        self.r0 = make_r0(fingerprint(server), suites, nonce_ or os.urandom(16))

    def answer(self, r1, ephemeral=None, encap=rsa_encap, mlkem=mlkem_encap):
        """R1 in, R2 out."""
        return self.meets(r1, ephemeral, mlkem) + self.keys(encap)

    def meets(self, r1, ephemeral, mlkem):
        """R1 in, ekem out."""
        public, offer = r1[:-8], r1[-8:]
        lowest, highest, bits, _, _ = struct.unpack(">BBHHH", offer)
        chosen = [suite for suite in self.suites if bitmap([suite]) == bits]
        if not lowest <= 1 <= highest or not chosen or len(public) != PUBLIC_BYTES[chosen[0]]:
            raise HopError("the server does not speak this")
        self.state = state = Symmetric(chosen[0], self.r0, self.server)
        state.mix_hash(public)
        state.mix_hash(offer)
        own = ephemeral or X25519PrivateKey.generate()
        ekem, ss = ephemeral_encap(chosen[0], public, own, mlkem)
        state.mix_hash(ekem)
        state.mix_key(ss)
        return ekem

    def keys(self, encap=rsa_encap):
        """Returns skem, s and tag: in R2 after ekem, and the whole of T4."""
        state = self.state
        ct, ss = encap(self.server)
        skem = state.encrypt_and_hash(ct)
        state.mix_key_and_hash(ss)
        s = state.encrypt_and_hash(modulus(self.own.public_key()))
        return skem + s + state.encrypt_and_hash(b"")

    def present(self, r1, ticket, secret, ephemeral=None, mlkem=mlkem_encap):
        """R1 in, T2 out."""
        ekem = self.meets(r1, ephemeral, mlkem)
        state = self.state
        state.mix_hash(BY_TICKET)
        sealed = state.encrypt_and_hash(ticket)
        self.accepted = state.copy()
        self.accepted.mix_key_and_hash(secret)
        tag = self.accepted.encrypt_and_hash(b"")
        state.mix_hash(tag)
        return ekem + sealed + tag

    def presented(self, t3):
        """Handles T3. Returns the same as finish(), or None if the server wants T4."""
        if len(t3) != 16:
            raise HopError("no T3")
        try:
            self.accepted.decrypt_and_hash(t3)
        except HopError:
            self.state.decrypt_and_hash(t3)
            return None
        k1, k2 = self.accepted.split()
        return Cipher(k2), Cipher(k1), self.accepted.h

    def finish(self, r3):
        """R3 in; out come what seals, what opens, and the session id."""
        ct = self.state.decrypt_and_hash(r3[:400])
        self.state.mix_key_and_hash(rsa_decap(self.own, ct))
        self.state.decrypt_and_hash(r3[400:])
        k1, k2 = self.state.split()
        return Cipher(k2), Cipher(k1), self.state.h


# Records


class Cipher:
    """One direction."""

    def __init__(self, key, rekey_records=65536):
        self.key, self.n, self.rekey_records = key, 0, rekey_records

    def next(self):
        n = self.n
        if n and n % self.rekey_records == 0:
            self.key = seal(self.key, 2**64 - 1, b"", bytes(32))[:32]
        self.n += 1
        return n

    def seal(self, kind, body):
        plain = bytes([kind]) + body
        n = self.next()
        return seal(self.key, n, b"", plain + b" " * (-len(plain) % 64))

    def open(self, record):
        n = self.next()
        plain = open_sealed(self.key, n, b"", record)
        # A transfer record contains its length, and may end in spaces of its own.
        return plain[0], plain[1:] if plain[0] == 2 else plain[1:].rstrip(b" ")
