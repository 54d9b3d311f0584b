"""Transfer records (docs/protocol.md, "Transfer record")."""

import struct

DATA, HAVE, WANT, STOP = 1, 2, 3, 4
DATA_BYTES_MAX = 16368


def data(transfer, offset, content):
    return struct.pack(">BIQH", DATA, transfer, offset, len(content)) + content


def have(transfer, written, limit):
    return struct.pack(">BIQQ", HAVE, transfer, written, limit)


def want(transfer, upto):
    return struct.pack(">BIQ", WANT, transfer, upto)


def stop(transfer, code):
    return struct.pack(">BIB", STOP, transfer, code)


def parse(body):
    """The record in a body with its padding, as a tuple of its name and fields."""
    try:
        operation, transfer = struct.unpack_from(">BI", body)
        if operation == DATA:
            offset, n = struct.unpack_from(">QH", body, 5)
            content, end = body[15 : 15 + n], 15 + n
            if not 1 <= n <= DATA_BYTES_MAX or len(content) < n or offset + n >= 2**64:
                raise ValueError("DATA of another size")
            record = ("data", transfer, offset, content)
        elif operation == HAVE:
            record, end = ("have", transfer, *struct.unpack_from(">QQ", body, 5)), 21
        elif operation == WANT:
            record, end = ("want", transfer, *struct.unpack_from(">Q", body, 5)), 13
        elif operation == STOP:
            record, end = ("stop", transfer, *struct.unpack_from(">B", body, 5)), 6
        else:
            raise ValueError(f"operation {operation}")
    except struct.error as error:
        raise ValueError("a byte is missing") from error
    if len(body) - end > 63 or body[end:].strip(b" "):
        raise ValueError("more than padding")
    return record
