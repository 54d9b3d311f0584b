"""A client of pychat on blocking sockets, written from docs/protocol.md alone."""

import json
import os
import socket
import struct
import time

import hop

DEADLINE = 60.0
LOGIN_BYTES_MAX, RECORD_BYTES_MAX = 2048, 16400


class Closed(Exception):
    """The end: with the reason that the server gave, or with None where it just closed."""

    @property
    def reason(self):
        return self.args[0]


class Connection:
    """Records over TCP. Every read has a deadline."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.bytes_max = LOGIN_BYTES_MAX

    def send(self, record):
        self.socket.settimeout(DEADLINE)
        self.socket.sendall(struct.pack(">H", len(record)) + record)

    def receive(self, deadline=None):
        deadline = deadline or time.monotonic() + DEADLINE
        (length,) = struct.unpack(">H", self.take(2, deadline))
        if length > self.bytes_max:
            raise hop.HopError("a record is too long")
        return self.take(length, deadline)

    def take(self, length, deadline):
        while len(self.buffer) < length:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed(None)
            self.buffer += more
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def close(self):
        self.socket.close()


def fetch_key(connection, print_):
    """The server's public key, for who knows its fingerprint."""
    nonce = os.urandom(16)
    connection.send(hop.ask(print_, nonce))
    return hop.read_answer(print_, nonce, connection.receive())


def fetch_lineage(connection, print_):
    """The server's public key and, verified, those before it."""
    nonce = os.urandom(16)
    connection.send(hop.ask_lineage(print_, nonce))
    return hop.read_lineage(print_, nonce, connection.receive())


# A line of nothing but a text has these, and no names.
TOLD = ("seq", "to", "from", "device", "id", "time_ms", "text")


def read(line):
    """One message of a record."""
    message = json.loads(line)
    if isinstance(message, list):
        return {"type": "message", "kind": "say", **dict(zip(TOLD, message, strict=True))}
    return message


class Session:
    """A login, and the messages that come."""

    def __init__(
        self, invite, own, name, device=None, server=None, suites=(2,), ticket=None, job=False
    ):
        """`server` is the pinned key; where it is not given, the server is asked for it."""
        # What the server has given to this device, to be stored and sent with the next login.
        self.ticket = ticket
        host, port, print_, _ = hop.parse_invite(invite)
        self.connection = connection = Connection(host, port)
        self.inbox = []
        # The beginning of a message that goes on in the next record.
        self.part = b""
        handshake = hop.Handshake(own, server or fetch_key(connection, print_), suites)
        connection.send(handshake.r0)
        r1 = connection.receive()
        if r1.startswith(b"PYCHAT!"):
            raise hop.HopError(r1.decode())
        connection.send(handshake.answer(r1))
        self.sealer, self.opener, self.id = handshake.finish(connection.receive())
        connection.bytes_max = RECORD_BYTES_MAX
        login = {"name": name, "version": "0", "major": 1, "features": ["ticket"]}
        if job:
            login["features"].append("job")
        if ticket:
            login["ticket"] = ticket
        if device:
            login["device"] = device
        self.send(hop.LOGIN, json.dumps(login).encode())

    def send(self, kind, body=b""):
        self.connection.send(self.sealer.seal(kind, body))

    def tell(self, **message):
        self.send(hop.JSON, json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def say(self, to, text, kind="say"):
        """Gives the line's id; the line comes back with it."""
        id = os.urandom(16).hex()
        if kind == "say":
            line = json.dumps([to, id, text], ensure_ascii=False)
            self.send(hop.JSON, line.encode() + b"\n")
        else:
            self.tell(type="say", to=to, id=id, text=text, kind=kind)
        return id

    def receive(self, deadline=None):
        """The next record that is not for the protocol alone. Answers pings."""
        while True:
            kind, body = self.opener.open(self.connection.receive(deadline))
            if kind == hop.CLOSE:
                raise Closed(json.loads(body))
            if kind == hop.PING:
                self.send(hop.PONG, body)
            elif kind in (hop.JSON, hop.PONG):
                return kind, body
            elif kind < 128:
                raise hop.HopError(f"a record of type {kind}")

    def wait(self, **fields):
        """The next message with these fields; those before it are dropped."""
        deadline = time.monotonic() + DEADLINE
        while True:
            while self.inbox:
                message = self.inbox.pop(0)
                if all(message.get(name) == value for name, value in fields.items()):
                    return message
            try:
                kind, body = self.receive(deadline)
            except TimeoutError:
                raise TimeoutError(f"never came: {fields}") from None
            if kind == hop.JSON:
                *messages, self.part = (self.part + body).split(b"\n")
                self.inbox += [read(line) for line in messages if line.strip()]
                for message in self.inbox:
                    if message["type"] == "ticket":
                        self.ticket = message["ticket"]

    def ping(self, count, body=b"?"):
        """Sends pings, and waits for the pong of each."""
        for _ in range(count):
            self.send(hop.PING, body)
        for _ in range(count):
            if self.receive() != (hop.PONG, body):
                raise hop.HopError("no pong of this ping")

    def ended(self):
        """Reads to the end and gives its reason."""
        try:
            while True:
                self.receive()
        except Closed as end:
            return end.reason

    def close(self, reason="quit"):
        self.send(hop.CLOSE, json.dumps(reason).encode())
        self.connection.close()
