"""Checks tests/data/file_format.json and transfer.json against file_format.py and transfer.py, and what
must not open."""

import json

import file_format
import hop
import transfer
from check_sealed import flipped, refused
from check_vectors import VECTORS, same


def main():
    known = json.loads((VECTORS.parent / "file_format.json").read_text(encoding="utf-8"))
    secret, blob = bytes.fromhex(known["secret"]), bytes.fromhex(known["blob"])
    for row in known["vectors"]:
        size, hides_size = row["bytes"], row["sealed"]
        what = f"file of {size} bytes"
        file = bytes(at * 7 % 251 for at in range(size))
        stored = file_format.seal(secret, blob, file, hides_size)
        same(f"padded size of a {what}", file_format.padded_size(size, hides_size), row["padded"])
        same(f"stored size of a {what}", len(stored), row["stored"])
        same(f"stored bytes of a {what}", hop.sha256(stored), row["sha256_of_stored"])
        same(f"hash of a {what}", file_format.file_hash(file), row["hash"])

        def opened(stored, size=size, hides_size=hides_size):
            return file_format.open_sealed(secret, blob, size, hides_size, stored)

        same(f"text of a {what}", opened(stored), file.hex())
        for at in {0, len(stored) // 2, len(stored) - 1}:
            refused(f"a changed byte {at} of a {what}", lambda: opened(flipped(stored, at)))
        refused(f"a cut {what}", lambda: opened(stored[:-1]))
    print("tests/data/file_format.json: every value agrees")
    transfer_records()


def transfer_records():
    known = json.loads((VECTORS.parent / "transfer.json").read_text(encoding="utf-8"))
    for row in known["records"]:
        fields = [value for name, value in row.items() if name not in ("op", "plain")]
        if row["op"] == "data":
            fields[-1] = bytes.fromhex(fields[-1])
        body = getattr(transfer, row["op"])(*fields)
        sealed = hop.Cipher(bytes(32)).seal(2, body)
        kind, opened = hop.Cipher(bytes(32)).open(sealed)
        same(f"plaintext of {row}", (bytes([kind]) + opened).hex(), row["plain"])
        same(f"fields of {row}", transfer.parse(opened), (row["op"], *fields))
    for row in known["refused"]:
        refused(row["what"], lambda body=row["body"]: transfer.parse(bytes.fromhex(body)))
    print("tests/data/transfer.json: every value agrees")


if __name__ == "__main__":
    main()
