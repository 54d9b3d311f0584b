"""Checks tests/data/file_format.json against file_format.py, and what must not open."""

import json

import file_format
import hop
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


if __name__ == "__main__":
    main()
