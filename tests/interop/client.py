"""A client of pychat on blocking sockets, written from docs/protocol.md alone."""

import base64
import hashlib
import json
import os
import socket
import struct
import time

import hop
import transfer

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


class WebSocketConnection(Connection):
    """Records over WebSocket: each is a binary message."""

    MASK = b"\x8a\x01\x00\xf3"

    def __init__(self, host, port, headers=()):
        super().__init__(host, port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /hop HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *headers]
        self.socket.settimeout(DEADLINE)
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        deadline, head = time.monotonic() + DEADLINE, b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1, deadline)
        status, *lines = head.decode().split("\r\n")[:-2]
        if not status.startswith("HTTP/1.1 101 "):
            raise hop.HopError(status)
        headers = dict(line.lower().split(": ", 1) for line in lines)
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode() + guid).digest()).decode()
        if headers["sec-websocket-accept"] != accept.lower():
            raise hop.HopError("no server of WebSocket")

    def send(self, record):
        self.frame(0x82, record)

    def frame(self, first, payload):
        short = len(payload) < 126
        length = bytes([0x80 | len(payload)]) if short else struct.pack(">BH", 0x80 | 126, len(payload))
        masked = bytes(byte ^ self.MASK[at % 4] for at, byte in enumerate(payload))
        self.socket.settimeout(DEADLINE)
        self.socket.sendall(bytes([first]) + length + self.MASK + masked)

    def receive(self, deadline=None):
        deadline = deadline or time.monotonic() + DEADLINE
        first, length = self.take(2, deadline)
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2, deadline))
        if length > self.bytes_max:
            raise hop.HopError("a record is too long")
        payload = self.take(length, deadline)
        if first == 0x88:
            # The normal end, 1000. TCP ends behind it.
            if payload != b"\x03\xe8":
                raise hop.HopError(f"closed with {payload!r}")
            self.take(1, deadline)
        if first != 0x82:
            raise hop.HopError(f"a frame {first:#x}")
        return payload

    def pinged(self):
        """A ping of WebSocket's own is answered between records."""
        self.frame(0x89, b"there?")
        deadline = time.monotonic() + DEADLINE
        return self.take(8, deadline) == b"\x8a\x06there?"


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


# A message of nothing but a text has these, and no names.
TOLD = ("seq", "to", "from", "device", "id", "time_ms", "text")


def read(line):
    """One message of a record."""
    message = json.loads(line)
    if isinstance(message, list):
        return {"type": "message", "kind": "say", **dict(zip(TOLD, message, strict=True))}
    return message


def text_of(blob):
    """A blob as it stands in messages."""
    return base64.urlsafe_b64encode(blob).decode().rstrip("=")


class Session:
    """A login, and the messages that come."""

    def __init__(
        self, invite, own, name, device=None, server=None, suites=(2,), ticket=None, job=False, web=None,
        session_ticket=None,
    ):
        """`server` is the pinned key; if it is missing, the client requests it from the server. `web` is host and port of
        the web port, to connect there."""
        # What the server has given to this device, to be stored and sent with the next login.
        self.ticket = ticket
        # Whether this login was by ticket.
        self.resumed = False
        host, port, print_, _ = hop.parse_invite(invite)
        self.connection = connection = WebSocketConnection(*web) if web else Connection(host, port)
        self.inbox = []
        # Transfer records of the server.
        self.records = []
        # The beginning of a message that goes on in the next record.
        self.part = b""
        handshake = hop.Handshake(own, server or fetch_key(connection, print_), suites)
        connection.send(handshake.r0)
        r1 = connection.receive()
        if r1.startswith(b"PYCHAT!"):
            raise hop.HopError(r1.decode())
        ends = None
        if session_ticket:
            held = [base64.b64decode(session_ticket[part] + "==") for part in ["ticket", "secret"]]
            connection.send(handshake.present(r1, *held))
            ends = handshake.presented(connection.receive())
            if ends is None:
                connection.send(handshake.keys())
        else:
            connection.send(handshake.answer(r1))
        self.resumed = ends is not None
        self.sealer, self.opener, self.id = ends or handshake.finish(connection.receive())
        connection.bytes_max = RECORD_BYTES_MAX
        login = {"name": name, "version": "0", "major": 1, "features": ["ticket", "files", "session_ticket"]}
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
        """Returns the message's id; the message comes back with it."""
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
            elif kind in (hop.JSON, hop.PONG, hop.TRANSFER):
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
            if kind == hop.TRANSFER:
                self.records.append(transfer.parse(body))
            if kind == hop.JSON:
                *messages, self.part = (self.part + body).split(b"\n")
                self.inbox += [read(line) for line in messages if line.strip()]
                for message in self.inbox:
                    if message["type"] == "ticket":
                        self.ticket = message["ticket"]

    def next_record(self):
        """The next transfer record; messages meanwhile are dropped."""
        while not self.records:
            kind, body = self.receive()
            if kind == hop.TRANSFER:
                self.records.append(transfer.parse(body))
        return self.records.pop(0)

    def upload(self, to, blob, stored):
        """Uploads an encrypted file, within the server's limits."""
        self.tell(type="put", to=to, blob=text_of(blob), bytes=len(stored), ref="put")
        answer = self.wait(type="upload", ref="put")
        number, next_, limit = answer["transfer"], answer["have"], answer["limit"]
        while next_ < len(stored):
            end = min(limit, len(stored), next_ + transfer.DATA_BYTES_MAX)
            if end > next_:
                self.send(hop.TRANSFER, transfer.data(number, next_, stored[next_:end]))
                next_ = end
            else:
                *_, limit = self.next_record()
        self.wait(type="kept", blob=text_of(blob))
        self.records.clear()

    def download(self, to, blob, window=100_000):
        """Downloads an encrypted file, so many bytes at a time."""
        self.tell(type="get", to=to, blob=text_of(blob), **{"from": 0}, ref="get")
        answer = self.wait(type="download", ref="get")
        stored, number = b"", answer["transfer"]
        while len(stored) < answer["bytes"]:
            upto = min(len(stored) + window, answer["bytes"])
            self.send(hop.TRANSFER, transfer.want(number, upto))
            while len(stored) < upto:
                name, of, offset, content = self.next_record()
                if (name, of, offset) != ("data", number, len(stored)):
                    raise hop.HopError("other bytes than were wanted")
                stored += content
        return stored

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
