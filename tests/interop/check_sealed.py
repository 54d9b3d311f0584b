"""Checks tests/data/sealed.json against sealed.py: every value, and what must not open."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import hop
import sealed
from check_vectors import VECTORS, same


def refused(what, job):
    try:
        job()
    except (hop.HopError, ValueError):
        return
    raise SystemExit(f"{what} was taken")


def flipped(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def main():
    hop_vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    known = json.loads((VECTORS.parent / "sealed.json").read_text(encoding="utf-8"))
    identities = {}
    for party, name in [("ana", "server"), ("bob", "client")]:
        pem = hop_vectors["keys_for_tests_only"][name]["pem"]
        identities[party] = load_pem_private_key(pem.encode(), None)
    server = hop.fingerprint(identities["ana"].public_key())
    certificates, signing, opening = {}, {}, {}
    for party, row in known["certificates"].items():
        certificates[party] = certificate = bytes.fromhex(row["certificate"])
        signing[party] = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(row["signing_seed"]))
        opening[party] = X25519PrivateKey.from_private_bytes(bytes.fromhex(row["opening_key"]))
        public = identities[party].public_key()
        keys = sealed.raw(signing[party]), sealed.raw(opening[party])
        same(f"keys of {party}", sealed.check_certificate(certificate, public, server), keys)
        same(f"hash of {party}", hop.sha256(certificate), row["hash"])
        now = row["not_after"] - 28 * 86400
        made = sealed.certify(identities[party], server, signing[party], opening[party], now)
        same(f"certificate of {party}, signed part", made[:157], certificate[:157].hex())
        for at in (20, 60, 90):
            changed = flipped(certificate, at)
            refused("a changed certificate", lambda: sealed.check_certificate(changed, public, server))
        other = hop.sha256(server)
        refused("one for another server", lambda: sealed.check_certificate(certificate, public, other))

    text = known["text"].encode()
    bobs = certificates["bob"], hop.fingerprint(identities["bob"].public_key())
    for private, device in zip([known["private"], known["private_rsa_alone"]], bobs):
        check_private(private, text, device, identities, certificates, signing, opening)
    check_pin_channel(known["pin_channel"], text, identities, certificates, signing)
    print("tests/data/sealed.json: every value agrees")


def others(server, sender, to):
    """Contexts that differ in one part."""
    elsewhere = "@" + to[1:] if to[0] == "#" else "#" + to[1:]
    for context in (hop.sha256(server), sender, to), (server, sender + "x", to), (server, sender, to + "x"), (server, sender, elsewhere):
        yield sealed.context(*context)


def check_private(private, text, device, identities, certificates, signing, opening):
    eph = X25519PrivateKey.from_private_bytes(bytes.fromhex(private["ephemeral"]))
    server, header = hop.fingerprint(identities["ana"].public_key()), sealed.header(private["header"])
    said = server, private["sender"], "@" + private["to"]
    context = sealed.context(*said)
    same("context", context, private["context"])
    body = sealed.seal_private(
        context, header, text, certificates["ana"], signing["ana"],
        [device], bytes.fromhex(private["message_key"]),
        lambda _: (bytes.fromhex(private["ct"]), bytes.fromhex(private["r"]), eph),
    )
    same("private message", body, private["body"])
    keys = identities["bob"], device, opening["bob"]
    opened = sealed.open_private(context, body, *keys, certificates["ana"])
    same("private message, opened", opened, (header, text.decode()))
    refused("another sender", lambda: sealed.open_private(context, body, *keys, certificates["bob"]))
    changed = flipped(body, len(body) - 90)
    refused("another text", lambda: sealed.open_private(context, changed, *keys, certificates["ana"]))
    for other in others(*said):
        refused("another context", lambda: sealed.open_private(other, body, *keys, certificates["ana"]))


def check_pin_channel(pins, text, identities, certificates, signing):
    server = hop.fingerprint(identities["ana"].public_key())
    channel = sealed.PinChannel(pins["pin"], server, pins["name"])
    same("root", channel.root, pins["root"])
    same("tag", channel.tag, pins["tag"])
    other = sealed.PinChannel(pins["pin"] + "x", server, pins["name"])
    said = server, pins["sender"], f"#{pins['name']}~{pins['tag']}"
    context = sealed.context(*said)
    same("context", context, pins["context"])
    for message in pins["messages"]:
        header, salt = sealed.header(message["header"]), bytes.fromhex(message["salt"])
        body = channel.seal(context, header, text, certificates["ana"], signing["ana"], salt)
        same("message", body, message["body"])
        same("message, opened", channel.open(context, body, certificates["ana"]), (header, text.decode()))
        refused("a message of another PIN", lambda: other.open(context, body, certificates["ana"]))
        for elsewhere in others(*said):
            refused("another context", lambda: channel.open(elsewhere, body, certificates["ana"]))


if __name__ == "__main__":
    main()
