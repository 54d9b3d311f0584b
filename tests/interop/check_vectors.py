"""Checks tests/data/hop.json against hop.py: every value, and both ends of the handshake."""

import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import hop

VECTORS = Path(__file__).parent.parent / "data" / "hop.json"


def same(what, ours, known):
    ours = ours.hex() if isinstance(ours, bytes) else ours
    if ours != known:
        sys.exit(f"{what}: this is {ours}, and the file has {known}")


def keys(known):
    found = {}
    for party, key in known.items():
        found[party] = load_pem_private_key(key["pem"].encode(), None)
        public = found[party].public_key()
        print_ = hop.fingerprint(public)
        same(f"modulus of {party}", hop.modulus(public), key["modulus"])
        same(f"SPKI of {party}", hop.spki(public), key["spki"])
        same(f"fingerprint of {party}", hop.shown(print_), key["fingerprint"])
        same(f"spoken form of {party}", hop.spoken(print_), key["fingerprint_spoken"])
        same(f"base64url of {party}", hop.base64url(print_), key["fingerprint_base64url"])
    return found["server"], found["client"]


def lines(known, server, client):
    print_ = hop.fingerprint(server)
    same("invite", hop.parse_invite(known["invite"]), ("192.168.1.20", 5000, print_, print_))
    same("IPv6 invite", hop.parse_invite(known["invite_ipv6"]), ("fd00::1", 6000, print_, print_))
    changed = ("192.168.1.20", 5000, print_, bytes([7] * 32))
    same("invite of a server with another key", hop.parse_invite(known["invite_changed"]), changed)
    for name in ["bob", "анна"]:
        same(f"key line of {name}", hop.key_line(name, client), known[f"key_of_{name}"])


def key_request(known, server):
    print_, nonce = hop.fingerprint(server), bytes.fromhex(known["nonce"])
    mk, ak = hop.ask_keys(print_, nonce)
    same("mk", mk, known["mk"])
    same("ak", ak, known["ak"])
    same("ASK", hop.ask(print_, nonce), known["ask"])
    answer = bytes.fromhex(known["answer"])
    same("ANSWER", hop.modulus(hop.read_answer(print_, nonce, answer)), hop.modulus(server).hex())
    same("ANSWER, sealed", hop.seal(ak, 0, b"", hop.modulus(server)), known["answer"])


def rotation(known, old, new):
    """The signatures of both keys; they prove nothing of other keys, and neither one does alone."""
    by_old, by_new = (bytes.fromhex(known[by]) for by in ["by_old", "by_new"])
    hop.follows(old, new, by_old + by_new)
    for signatures in [by_old, by_old + by_old, by_new + by_old, by_old + bytes(384), bytes(384) + by_new]:
        refused(old, new, signatures)
    refused(new, old, by_new + by_old)
    refused(new, old, by_old + by_new)
    return by_old + by_new


def refused(old, new, signatures):
    try:
        hop.follows(old, new, signatures)
    except (hop.HopError, InvalidSignature):
        return
    raise AssertionError("a rotation is accepted that not both keys have signed")


def lineage(known, signatures, old, own):
    print_, nonce = hop.fingerprint(own), bytes.fromhex(known["nonce"])
    same("key of a lineage", hop.lineage_key(print_, nonce), known["key"])
    same("request for a lineage", hop.ask_lineage(print_, nonce), known["ask"])
    read, before = hop.read_lineage(print_, nonce, bytes.fromhex(known["answer"]))
    same("lineage", [hop.modulus(key) for key in [*before, read]], [hop.modulus(old), hop.modulus(own)])
    plain = hop.modulus(own) + hop.modulus(old) + signatures
    same("lineage, sealed", hop.seal(hop.lineage_key(print_, nonce), 0, b"", plain), known["answer"])


def x25519(known, party):
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(known["x25519"][party]))
    public = key.public_key().public_bytes_raw()
    same(f"X25519 of {party}", public, known["x25519"][f"{party}_public"])
    return key


def kem(known, party):
    return tuple(bytes.fromhex(known["rsa_kem"][party][part]) for part in ["ct", "ss"])


def as_server(known, server, client):
    """Opens R2 as the server does and seals R3; the state after each step must be the known one."""
    suite, ephemeral = known["suites"][0], x25519(known, "server")
    r1, r2 = bytes.fromhex(known["r1"]), bytes.fromhex(known["r2"])
    steps = iter(known["steps"])
    state = hop.Symmetric(suite, bytes.fromhex(known["r0"]), server.public_key())

    def step(after):
        ours = {"after": after, "h": state.h.hex(), "ck": state.ck.hex()}
        same(after, ours | {"k": state.k and state.k.hex()}, next(steps))

    step("prologue and server modulus")
    offer = bytes.fromhex(f"0101000{suite}40000000")
    ekem, r2 = r2[: hop.ENCAPSULATION_BYTES[suite]], r2[hop.ENCAPSULATION_BYTES[suite] :]
    same("enc", ekem[:32], known["dhkem"]["enc"])
    public = ephemeral.public_key().public_bytes_raw()
    ss = hop.dhkem_decap(ephemeral, ekem[:32])
    same("DHKEM", ss, known["dhkem"]["ss"])
    if suite == 2:
        mlkem = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(known["mlkem"]["seed"]))
        same("ML-KEM's key", mlkem.public_key().public_bytes_raw(), known["mlkem"]["public"])
        assert hop.is_reduced(mlkem.public_key().public_bytes_raw())
        assert not hop.is_reduced(bytes.fromhex("010d00") + bytes(1181))
        public += mlkem.public_key().public_bytes_raw()
        same("ML-KEM's ciphertext", ekem[32:], known["mlkem"]["ct"])
        of_mlkem = mlkem.decapsulate(ekem[32:])
        same("ML-KEM's secret", of_mlkem, known["mlkem"]["ss"])
        ss = hop.hybrid_secret(ss, of_mlkem)
    same("R1", public + offer, known["r1"])
    state.mix_hash(public)
    state.mix_hash(offer)
    step("R1")
    state.mix_hash(ekem)
    same("secret of R2's ekem", ss, known["ekem_ss"])
    state.mix_key(ss)
    step("R2 ekem")
    ct = state.decrypt_and_hash(r2[:400])
    same("ct to the server", ct, known["rsa_kem"]["server"]["ct"])
    step("R2 skem, its ciphertext")
    ss = hop.rsa_decap(server, ct)
    same("ss to the server", ss, known["rsa_kem"]["server"]["ss"])
    state.mix_key_and_hash(ss)
    step("R2 skem")
    same("s", state.decrypt_and_hash(r2[400:800]), hop.modulus(client.public_key()).hex())
    step("R2 s")
    same("R2's payload", state.decrypt_and_hash(r2[800:]), "")
    step("R2")
    ct, ss = kem(known, "client")
    r3 = state.encrypt_and_hash(ct)
    step("R3 skem, its ciphertext")
    state.mix_key_and_hash(ss)
    step("R3 skem")
    same("R3", r3 + state.encrypt_and_hash(b""), known["r3"])
    step("R3")
    same("steps left", list(steps), [])
    same("ck", state.ck, known["ck"])
    k1, k2 = state.split()
    same("k1", k1, known["k1"])
    same("k2", k2, known["k2"])
    return k1, k2


def as_client(known, server, client):
    nonce = bytes.fromhex(known["r0_nonce"])
    handshake = hop.Handshake(client, server.public_key(), known["suites"], nonce)
    same("R0", handshake.r0, known["r0"])
    encap = lambda _: kem(known, "server")
    mlkem = lambda _: tuple(bytes.fromhex(known["mlkem"][part]) for part in ["ct", "ss"])
    r2 = handshake.answer(bytes.fromhex(known["r1"]), x25519(known, "client"), encap, mlkem)
    same("R2", r2, known["r2"])
    sealer, opener, session_id = handshake.finish(bytes.fromhex(known["r3"]))
    same("session id", session_id, known["h"])
    return sealer.key, opener.key


def resumption(known, handshake, server, client):
    """A login by ticket at the client: accepted, and refused."""
    part = lambda name: bytes.fromhex(known[name])
    mlkem = lambda _: tuple(bytes.fromhex(handshake["mlkem"][name]) for name in ["ct", "ss"])
    encap = lambda _: kem(handshake, "server")
    for refused in [False, True]:
        nonce = bytes.fromhex(handshake["r0_nonce"])
        own = hop.Handshake(client, server.public_key(), handshake["suites"], nonce)
        ephemeral = x25519(handshake, "client")
        t2 = own.present(bytes.fromhex(handshake["r1"]), part("ticket"), part("secret"), ephemeral, mlkem)
        same("T2", t2, known["t2"])
        ends = own.presented(part("refused_t3" if refused else "t3"))
        same("the server's answer", ends is None, refused)
        if refused:
            same("T4", own.keys(encap), known["t4"])
            ends = own.finish(part("r3"))
        same("session id", ends[2], known["refused_h" if refused else "h"])


def records(known, direction, key):
    period = known["rekey_records"]
    sealer, opener = hop.Cipher(key, period), hop.Cipher(key, period)
    for n, record in enumerate(known[direction]):
        kind, body = record["type"], record["body"].encode()
        same(f"{direction} n", n, record["n"])
        same(f"{direction} {n}", sealer.seal(kind, body), record["record"])
        opened = opener.open(bytes.fromhex(record["record"]))
        same(f"{direction} {n}, opened", opened, (kind, body))
    same(f"{direction}, renewed key", sealer.key, known["key_after_rekey"][direction])


def main():
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    server, client = keys(vectors["keys_for_tests_only"])
    lines(vectors["lines"], server.public_key(), client.public_key())
    key_request(vectors["key_request"], server.public_key())
    old, new = server.public_key(), client.public_key()
    lineage(vectors["lineage"], rotation(vectors["next_server_key"], old, new), old, new)
    for suite in [1, 2]:
        handshake = vectors["handshakes"][str(suite)]
        same("suites", handshake["suites"], [suite])
        same("name", hop.NAMES[suite].decode(), handshake["name"])
        key = hop.r0_key(hop.fingerprint(server.public_key()))
        same("key of R0's MAC", key, handshake["r0_key"])
        k1, k2 = as_server(handshake, server, client)
        same("client's keys", as_client(handshake, server, client), (k2, k1))
        for party, key in [("server", server), ("client", client)]:
            ct, ss = kem(handshake, party)
            same(f"RSA KEM of {party}", hop.rsa_decap(key, ct), ss.hex())
        resumption(vectors["resumptions"][str(suite)], handshake, server, client)
    records(vectors["transport"], "server_to_client", k1)
    records(vectors["transport"], "client_to_server", k2)
    print("tests/data/hop.json: every value agrees")


if __name__ == "__main__":
    main()
