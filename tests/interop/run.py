"""An independent client against the real server and the real client.

    run.py PYCHAT    where PYCHAT is the binary

Every wait has a deadline; the first thing that is not as it should be ends the run."""

import base64
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

import check_files
import check_sealed
import check_vectors
import file_format
import hop
import sealed
from client import (
    DEADLINE, Closed, Connection, Session, WebSocketConnection, fetch_key, fetch_lineage, text_of,
)


class Program:
    """A pychat with folders of its own, and the lines that it prints as they come."""

    def __init__(self, *args):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(args, text=True, encoding="utf-8", bufsize=1, **pipes)
        self.lines = queue.Queue()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def sees(self, *texts):
        """The next line that holds all of the texts; those before it are dropped."""
        seen = []
        while True:
            try:
                seen.append(self.lines.get(timeout=DEADLINE))
            except queue.Empty:
                sys.exit("\n".join([f"never saw {texts} but", *seen]))
            if all(text in seen[-1] for text in texts):
                return seen[-1]

    def sees_all(self, *texts):
        """The next line of each text, in whichever order they come."""
        lines = dict.fromkeys(texts)
        while None in lines.values():
            line = self.sees("")
            lines.update((text, line) for text in texts if text in line)
        return list(lines.values())

    def types(self, **message):
        print(json.dumps(message), file=self.process.stdin, flush=True)


class World:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.home = str(folder / "home")
        os.mkdir(self.home)
        # Keys are renewed by many thousands of pings, each of which counts as a request.
        self.configure({})
        os.environ.update(HOME=str(folder), NO_COLOR="1", XDG_DATA_HOME=str(folder / "data"))
        listen = ["--no-owner", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--home", self.home]
        self.server = Program(binary, "server", *listen)
        # The log is written by a thread of its own.
        told = self.server.sees_all("web at ws://", "ready addr=")
        host, port = told[0].split("ws://")[1].removesuffix("/hop").split(":")
        self.web = (host, int(port))
        words = dict(word.split("=", 1) for word in told[1].split()[1:])
        self.shown = words["fingerprint"]
        print_ = self.shown.removeprefix("SHA256:").replace("+", "-").replace("/", "_")
        self.invite = f"pychat://{words['addr']}/{print_}"

    def configure(self, more):
        config = {"server_ip": "127.0.0.1", "limits": {"requests_per_s": 100_000, "answer_bytes_per_s": 1e9, "file_reserve_bytes": 0}, **more}
        pathlib.Path(self.home, "config.json").write_text(json.dumps(config))

    def run(self, *args, text=None):
        command = [self.binary, *args]
        given = {"input": text, "capture_output": True, "encoding": "utf-8"}
        done = subprocess.run(command, timeout=DEADLINE, **given)
        if done.returncode:
            sys.exit(f"pychat {args[0]}: {done.stderr}")
        return done.stdout

    def admit(self, line):
        self.run("users", "add", line, "--yes", "--home", self.home)
        self.server.sees("registered with")

    def connect(self):
        return Connection(*hop.parse_invite(self.invite)[:2])


def same(ours, wanted):
    if ours != wanted:
        raise AssertionError(f"{ours!r} is not {wanted!r}")


def meets_silence(connection):
    """The server closes without a byte."""
    try:
        record = connection.receive()
    except Closed as end:
        return same(end.reason, None)
    raise AssertionError(f"the server answered {record!r}")


def unauthenticated_peers_learn_nothing(world, ana):
    other = rsa.generate_private_key(65537, 3072)
    connection = world.connect()
    connection.send(hop.ask(hop.fingerprint(other.public_key()), bytes(16)))
    meets_silence(connection)
    # Another key pinned than the server's: in R0, and in what follows one under the right fingerprint.
    connection = world.connect()
    connection.send(hop.Handshake(ana, other.public_key()).r0)
    meets_silence(connection)
    handshake, print_ = hop.Handshake(ana, other.public_key()), hop.parse_invite(world.invite)[2]
    connection = world.connect()
    connection.send(hop.make_r0(print_, [2], bytes(16)))
    connection.send(handshake.answer(connection.receive()))
    meets_silence(connection)
    for mac, answer in [(hop.r0_mac(print_, b"PYCHAT/2"), b"PYCHAT!1-1"), (b"", None)]:
        connection = world.connect()
        connection.send(b"PYCHAT/2" + mac)
        if answer:
            same(connection.receive(), answer)
        meets_silence(connection)


def who_is_not_registered_is_told(world, ana):
    session = Session(world.invite, ana, "ana")
    goodbye = session.wait(type="goodbye")
    same(goodbye["code"], "not_admitted")
    assert hop.shown(hop.fingerprint(ana.public_key())) in goodbye["reason"]
    same(session.ended(), "not_admitted")


def two_independent_clients_chat(world, ana, ben):
    a = Session(world.invite, ana, "ana", device="laptop")
    welcome = a.wait(type="welcome")
    same((welcome["name"], welcome["device"]), ("ana", "laptop"))
    # The second knows the key from before, and does not ask for it.
    b = Session(world.invite, ben, "ben", server=ask_for_key(world))
    b.wait(type="welcome", name="ben", device="main")
    same(b.wait(type="entered", channel="#lobby")["people"], ["ana", "ben"])
    a.wait(type="joined", to="#lobby", who="ben", here=2)

    id = a.say("#lobby", "grün\x1b 漢字 👍")
    acknowledged = a.wait(type="message", id=id)
    arrived = b.wait(type="message", id=id)
    same(acknowledged, arrived)
    same((arrived["from"], arrived["device"], arrived["to"]), ("ana", "laptop", "#lobby"))
    same((arrived["text"], arrived["kind"]), ("grün 漢字 👍", "say"))

    id = b.say("@ana", "bring the good one", kind="me")
    private = a.wait(type="message", id=id)
    same((private["from"], private["to"], private["kind"]), ("ben", "@ana", "me"))
    same(b.wait(type="message", id=id), private)

    a.tell(type="join", channel="#Tea", ref="1")
    same(a.wait(type="entered", ref="1")["channel"], "#tea")
    same(refusal(b, "#tea", "let me in"), "not_member")
    b.tell(type="join", channel="#tea", ref="2")
    same(b.wait(type="entered", ref="2")["people"], ["ana", "ben"])
    a.wait(type="joined", to="#tea", who="ben")
    a.tell(type="topic", channel="#tea", text="now")
    b.wait(type="topic", to="#tea", who="ana", text="now")
    a.tell(type="people", channel="#tea", ref="3")
    same(a.wait(type="people", ref="3")["people"], ["ana", "ben"])
    a.tell(type="channels", ref="4")
    rows = {row["channel"]: row for row in a.wait(type="channels", ref="4")["channels"]}
    same(rows["#tea"], {"channel": "#tea", "here": 2, "member": True, "topic": "now"})
    a.tell(type="part", channel="#tea", ref="5")
    a.wait(type="parted", channel="#tea", ref="5")
    b.wait(type="left", to="#tea", who="ana", here=1)

    b.tell(type="away", text="lunch")
    a.tell(type="whois", name="ben", ref="6")
    whois = a.wait(type="whois", name="ben", ref="6")
    same(whois["fingerprints"], [hop.shown(hop.fingerprint(ben.public_key()))])
    # Open channels are open to everybody; of one with a PIN nobody learns whether it exists.
    same((whois["devices"], whois["channels"]), (["main"], ["#lobby", "#tea"]))
    a.tell(type="people", channel="#tea", ref="6")
    same(a.wait(type="people", ref="6")["people"], ["ben"])
    a.tell(type="people", channel="#tea~" + 26 * "0", ref="6")
    same(a.wait(type="refused", ref="6")["code"], "not_member")

    same(refusal(a, "#lobby", "x" * (welcome["text_bytes_max"] + 1)), "too_long")
    same(refusal(a, "#lobby", "  "), "bad_request")
    same(refusal(a, "@nobody", "hello?"), "no_such_user")
    a.tell(type="dance")
    a.wait(type="refused", code="bad_request")
    id = a.say("#lobby", "x" * welcome["text_bytes_max"])
    same(len(b.wait(type="message", id=id)["text"]), welcome["text_bytes_max"])

    # Own messages are not counted.
    conversations = [{"to": "#lobby", "seq": "0"}, {"to": "@ana", "seq": "0"}, {"to": "#none", "seq": "0"}]
    b.tell(type="count", conversations=conversations, ref="9")
    counts = {one["to"]: one for one in b.wait(type="count", ref="9")["conversations"]}
    same(sorted(counts), ["#lobby", "@ana"])
    same((counts["#lobby"]["after"], counts["#lobby"]["messages"], counts["@ana"]["messages"]), ("0", 2, 0))
    same(counts["#lobby"]["by"], [{"name": "ana", "messages": 2}])

    # Records of types to come are skipped, and two messages in one record are two.
    a.send(200, b"from the future")
    people = b'{"type":"people","channel":"#lobby","ref":"%d"}\n'
    a.send(hop.JSON, people % 7 + people % 8)
    a.wait(type="people", ref="7")
    a.wait(type="people", ref="8")
    return a, b


def ask_for_key(world):
    connection = world.connect()
    key = fetch_key(connection, hop.parse_invite(world.invite)[2])
    connection.close()
    return key


def refusal(session, to, text):
    return session.wait(type="refused", id=session.say(to, text))["code"]


def the_web_port_carries_the_same_records(world, a, ben):
    """A session by WebSocket: from the request for the key to the end."""
    connection = WebSocketConnection(*world.web)
    assert connection.pinged()
    key = fetch_key(connection, hop.parse_invite(world.invite)[2])
    connection.close()
    web = Session(world.invite, ben, "ben", device="page", server=key, web=world.web)
    web.wait(type="welcome", name="ben", device="page")
    web.wait(type="entered", channel="#lobby")
    id = web.say("#lobby", "by WebSocket")
    a.wait(type="message", id=id, text="by WebSocket")
    web.wait(type="message", id=id)
    for length in (1, 100, 200, 8_000):
        id = a.say("#lobby", "x" * length)
        web.wait(type="message", id=id, text="x" * length)
    web.ping(1_000)
    web.tell(type="quit")
    same(web.ended(), "quit")
    # A page of another origin, and a name that is not the server's.
    for header, status in [("Origin: https://evil.example", "403"), ("Host: evil.example", "400")]:
        try:
            WebSocketConnection(*world.web, headers=[header])
            raise AssertionError(f"{header} came in")
        except hop.HopError as refused:
            assert refused.args[0].startswith(f"HTTP/1.1 {status} "), refused
    # Text is no record.
    connection = WebSocketConnection(*world.web)
    connection.frame(0x81, b"hello")
    meets_silence(connection)


def keys_are_renewed(session):
    """More pings than one key is for, in both directions."""
    while session.sealer.n <= 65536 or session.opener.n <= 65536:
        session.ping(256, b"still there?")
    session.wait(type="message", id=session.say("#lobby", "under the next key"))


class Device:
    """A device of ana's for one server, which seals by docs/protocol.md alone."""

    def __init__(self, world, session, identity):
        self.session, self.identity = session, identity
        self.server = hop.parse_invite(world.invite)[3]
        self.signing, self.opening = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.certificate = self.certify(self.server)

    def certify(self, server):
        return sealed.certify(self.identity, server, self.signing, self.opening, int(time.time()))

    def publishes(self, certificate):
        self.session.tell(type="certify", certificate=base64_of(certificate))

    def header(self, content=sealed.TEXT):
        """Of a session of its own, so that it follows nothing."""
        fields = {"kind": 0, "content": content, "n": 0, "time_ms": int(time.time() * 1000)}
        random = {name: os.urandom(16).hex() for name in ["id", "session"]}
        return sealed.header({**fields, **random, "of": "00" * 16, "prev": "00" * 32})

    def header_of_file(self, blob):
        fields = {"kind": 4, "content": 1, "n": 0, "time_ms": int(time.time() * 1000)}
        random = {name: os.urandom(16).hex() for name in ["id", "session"]}
        return sealed.header({**fields, **random, "of": blob.hex(), "prev": "00" * 32})

    def seals(self, header, text, to, recipient, sender="ana"):
        """A private message, for the recipient's key and certificate and for this device."""

        def fresh(device):
            key, r = recipient[0] if device == recipient[1] else self.identity.public_key(), os.urandom(32)
            return key.encrypt(r, sealed.OAEP), r, X25519PrivateKey.generate()

        return sealed.seal_private(
            sealed.context(self.server, sender, to), header, text.encode(), self.certificate, self.signing,
            [recipient[1], self.certificate], os.urandom(32), fresh,
        )

    def opens(self, message, certificate):
        """A private message of somebody with this certificate."""
        context = sealed.context(self.server, message["from"], message["to"])
        body = from_base64(message["sealed"])
        own = self.identity, self.certificate, self.opening
        return sealed.open_private(context, body, *own, certificate)[1]

    def says(self, to, header, body):
        self.session.tell(type="say", to=to, id=header[:16].hex(), sealed=base64_of(body))


def base64_of(data):
    return base64.b64encode(data).decode().rstrip("=")


def from_base64(text):
    return base64.b64decode(text + "==")


def messages_are_sealed(world, a, ana, carol):
    """Between the independent client and the real one, in private and in a channel with a PIN."""
    device = Device(world, a, ana)
    device.publishes(device.certify(hop.sha256(device.server)))
    a.wait(type="refused", code="bad_request")
    device.publishes(device.certificate)
    a.tell(type="keys", names=["ana", "carol"], ref="sealed")
    own, other = (a.wait(type="keys", name=name, ref="sealed")["keys"][0] for name in ["ana", "carol"])
    same(from_base64(own["certificate"]), device.certificate)
    key, certificate = load_der_public_key(from_base64(other["key"])), from_base64(other["certificate"])
    sealed.check_certificate(certificate, key, device.server)
    # A text, one that ben is said to have said, and one of a type that is to come.
    for content, sender, shown in [
        (sealed.TEXT, "Ana", ['"message"', "sealed by hand", '"confidentiality":"sealed"']),
        (sealed.TEXT, "ben", ['"violation"', '"closed"']),
        (7, "ana", ['"violation"', '"newer"']),
    ]:
        header = device.header(content)
        body = device.seals(header, "sealed by hand", "@carol", (key, certificate), sender)
        device.says("@carol", header, body)
        carol.sees(*shown)
    carol.types(type="say", to="@ana", text="sealed for you")
    message = a.wait(type="message", to="@ana", **{"from": "carol"})
    same(device.opens(message, certificate), "sealed for you")
    # The channel has a name of its own for each PIN.
    channel = sealed.PinChannel("k3x9f-2m7qa", device.server, "tea")
    name = f"#tea~{channel.tag}"
    carol.types(type="join", channel="#tea", pin="k3x9f-2m7qa")
    carol.sees('"entered"', name)
    a.tell(type="join", channel=name)
    a.wait(type="entered", channel=name)
    for sender, shown in [("ana", ['"message"', "tea at five"]), ("ben", ['"violation"', '"closed"'])]:
        header, context = device.header(), sealed.context(device.server, sender, name)
        signed = device.certificate, device.signing
        device.says(name, header, channel.seal(context, header, b"tea at five", *signed, os.urandom(16)))
        carol.sees(*shown)
    context, before = sealed.context(device.server, "carol", name), None
    for n, text in enumerate(["and cake", "and milk"]):
        carol.types(type="say", to=name, text=text)
        body = from_base64(a.wait(type="message", to=name, **{"from": "carol"})["sealed"])
        header, opened = channel.open(context, body, certificate)
        same((opened, sealed.number(header)), (text, n))
        # Each message names the one before it.
        same(sealed.previous(header), sealed.body_hash(before) if before else bytes(32))
        before = body
    a.tell(type="part", channel=name)
    return device


def descriptor(blob, secret, file):
    text = {"v": 1, "blob": text_of(blob), "name": "by hand.bin", "bytes": len(file)}
    text |= {"media": "application/octet-stream", "key": base64url(secret)}
    return json.dumps(text | {"hash": base64url(file_format.file_hash(file))})


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def files_are_shared(world, a, device, carol):
    """Sends files between the independent client and the real one, in the lobby and in private."""
    folder = world.folder / "files"
    folder.mkdir()
    a.tell(type="keys", names=["carol"], ref="files")
    other = a.wait(type="keys", name="carol", ref="files")["keys"][0]
    key, certificate = load_der_public_key(from_base64(other["key"])), from_base64(other["certificate"])
    for number, (to, back) in enumerate([("#lobby", "#lobby"), ("@carol", "@ana")]):
        hides_size = to.startswith("@")
        file, blob, secret = os.urandom(150_000), os.urandom(16), os.urandom(32)
        a.upload(to, blob, file_format.seal(secret, blob, file, hides_size))
        text = descriptor(blob, secret, file)
        message = {"type": "say", "to": to, "kind": "file", "blob": text_of(blob)}
        if hides_size:
            header = device.header_of_file(blob)
            message["id"] = header[:16].hex()
            message["sealed"] = base64_of(device.seals(header, text, to, (key, certificate)))
        else:
            message |= {"id": os.urandom(16).hex(), "text": text}
        a.tell(**message)
        told = json.loads(carol.sees('"kind":"file"', message["id"]))
        same((told["file"]["name"], told["file"]["bytes"]), ("by hand.bin", len(file)))
        path = folder / f"fetched {number}"
        carol.types(type="get_file", to=back, seq=told["seq"], path=str(path))
        carol.sees('"state":"saved"')
        same(path.read_bytes() == file, True)
        # The real client sends a file to the independent one.
        own = folder / f"own {number}"
        own.write_bytes(file[:70_000])
        carol.types(type="send_file", path=str(own), to=back)
        message = a.wait(type="message", kind="file", **{"from": "carol"})
        text = device.opens(message, certificate) if hides_size else message["text"]
        known, blob = json.loads(text), base64.urlsafe_b64decode(message["blob"] + "==")
        secret = base64.urlsafe_b64decode(known["key"] + "=")
        stored = a.download(to, blob)
        opened = file_format.open_sealed(secret, blob, known["bytes"], hides_size, stored)
        same((opened == file[:70_000], known["name"]), (True, f"own {number}"))
        same(base64url(file_format.file_hash(opened)), known["hash"])


def the_real_client_joins_in(world, a, ana):
    world.run("keygen")
    world.admit(world.run("key", "show", "--name", "carol").strip())
    carol = Program(world.binary, "client", world.invite, "--name", "carol", "--json")
    carol.sees('"hello"', world.shown)
    a.wait(type="joined", to="#lobby", who="carol")
    id = a.say("@carol", "hello from afar")
    carol.sees('"message"', id, '"to":"@carol"', "hello from afar")
    carol.types(type="say", to="@ana", text="hello from here")
    carol.sees('"ack"', '"to":"@ana"')
    # Sealed for this client's key: it comes, and the server could not read it.
    message = a.wait(type="message", **{"from": "carol"})
    same((message["text"], bool(message["sealed"])), ("", True))
    carol.types(type="say", to="#lobby", text="hello from here")
    carol.sees('"ack"', '"to":"#lobby"')
    a.wait(type="message", **{"from": "carol"}, text="hello from here")
    device = messages_are_sealed(world, a, ana, carol)
    files_are_shared(world, a, device, carol)
    carol.types(type="quit")
    a.wait(type="left", to="#lobby", who="carol")
    same(carol.process.wait(DEADLINE), 0)


def the_server_changes_its_key(world, a, ben):
    """Who knows the old key learns the next one by it; both are accepted for a while."""
    old = ask_for_key(world)
    shown = world.run("server-key", "rotate", "--home", world.home).split()[0]
    told = a.wait(type="successor")
    new = load_der_public_key(base64.b64decode(told["key"] + "=="))
    hop.follows(old, new, base64.b64decode(told["signatures"] + "=="))
    same(hop.shown(hop.fingerprint(new)), shown)
    line = world.run("invite", "--home", world.home)
    same(hop.parse_invite(line)[2:], (hop.fingerprint(new), hop.fingerprint(old)))
    # A new client accepts the invite's first key where the server proves it.
    for key, before in [(new, [old]), (old, [])]:
        connection = world.connect()
        own, keys = fetch_lineage(connection, hop.fingerprint(key))
        connection.close()
        same([hop.fingerprint(one) for one in [*keys, own]], [hop.fingerprint(one) for one in [*before, key]])
    for server in [old, new]:
        again = Session(world.invite, ben, "ben", device="phone", server=server)
        again.wait(type="successor")
        again.close()


def suite_1_is_for_those_who_want_it(world, ben):
    def logs_in(suites):
        Session(world.invite, ben, "ben", device="tablet", suites=suites).close()

    logs_in((1, 2))
    try:
        logs_in((1,))
        raise AssertionError("the server has suite 1 without being told to")
    except hop.HopError:
        pass
    world.configure({"suites": [1, 2]})
    world.run("ctl", "reload", "--home", world.home)
    for suites in [(1,), (2,), (1, 2)]:
        logs_in(suites)


def a_device_that_knew_the_password_has_a_ticket(world):
    cem = rsa.generate_private_key(65537, 3072)
    world.admit(hop.key_line("cem", cem.public_key()))
    world.run("users", "passwd", "cem", "--home", world.home, text="tea for two\n")
    world.server.sees("cem has a new password now")

    def logs_in(ticket):
        session = Session(world.invite, cem, "cem", ticket=ticket)
        session.wait(type="password", wrong=False)
        session.tell(type="password", password="tea for two")
        session.wait(type="entered", channel="#lobby")
        session.tell(type="channels", ref="1")
        session.wait(type="channels", ref="1")
        session.close()
        return session.ticket

    ticket = logs_in(None)
    same(len(from_base64(ticket)), 32)
    same(logs_in(ticket), ticket)
    assert logs_in(base64_of(bytes(32))) != base64_of(bytes(32))


def a_second_login_is_by_a_ticket(world, ben):
    server = ask_for_key(world)

    def logs_in(ticket, resumed):
        session = Session(world.invite, ben, "ben", device="slate", server=server, session_ticket=ticket)
        session.wait(type="welcome", name="ben", device="slate")
        held = session.wait(type="session_ticket")
        session.wait(type="message", id=session.say("#lobby", "back again"))
        session.close()
        same(session.resumed, resumed)
        return held

    def bent(held, part):
        data = bytearray(base64.b64decode(held[part] + "=="))
        data[40 % len(data)] ^= 1
        return {**held, part: base64_of(bytes(data))}

    first = logs_in(None, False)
    second = logs_in(first, True)
    assert first["ticket"] != second["ticket"] and first["secret"] != second["secret"]
    # A ticket or a secret of its own making: the server wants the key, in the same connection.
    logs_in(bent(second, "ticket"), False)
    logs_in(bent(second, "secret"), False)
    logs_in({**second, "secret": first["secret"]}, False)
    return server, logs_in(second, True)


def a_ticket_ends_with_the_servers_key(world, ben, server, held):
    session = Session(world.invite, ben, "ben", device="slate", server=server, session_ticket=held)
    session.wait(type="welcome", name="ben", device="slate")
    session.close()
    same(session.resumed, False)


def every_end_has_its_word(world, a, b, ben):
    b.tell(type="quit")
    same(b.ended(), "quit")
    a.wait(type="left", to="#lobby", who="ben")
    world.server.sees("ben (main) ended: left")
    job = Session(world.invite, ben, "ben", job=True)
    job.wait(type="entered", channel="#lobby")
    job.say("#lobby", "of a job")
    while (told := a.wait()).get("text") != "of a job":
        if told["type"] == "joined":
            raise SystemExit("a job was announced")
    job.close()
    b = Session(world.invite, ben, "ben")
    a.wait(type="joined", to="#lobby", who="ben")
    b.close()
    a.wait(type="left", to="#lobby", who="ben")
    world.server.sees("ben (main) ended: left")
    world.server.process.send_signal(signal.SIGTERM)
    a.wait(type="goodbye", code="shutdown")
    same(a.ended(), "shutdown")
    same(world.server.process.wait(DEADLINE), 0)


def main():
    binary = str(Path(sys.argv[1]).resolve())
    check_vectors.main()
    check_sealed.main()
    check_files.main()
    ana, ben = (rsa.generate_private_key(65537, 3072) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        world = World(binary, Path(folder))
        try:
            unauthenticated_peers_learn_nothing(world, ana)
            who_is_not_registered_is_told(world, ana)
            world.admit(hop.key_line("ana", ana.public_key()))
            world.admit(hop.key_line("ben", ben.public_key()))
            a, b = two_independent_clients_chat(world, ana, ben)
            keys_are_renewed(b)
            the_web_port_carries_the_same_records(world, a, ben)
            the_real_client_joins_in(world, a, ana)
            server, held = a_second_login_is_by_a_ticket(world, ben)
            the_server_changes_its_key(world, a, ben)
            a_ticket_ends_with_the_servers_key(world, ben, server, held)
            suite_1_is_for_those_who_want_it(world, ben)
            a_device_that_knew_the_password_has_a_ticket(world)
            every_end_has_its_word(world, a, b, ben)
        finally:
            world.server.process.kill()
    print("the independent client, the server and the client understand each other")


if __name__ == "__main__":
    main()
