"""The recorder: what is shown is what was on the wire, wherever it is cut, and the traffic does not notice."""

from __future__ import annotations

import itertools
import os
import random
import re

import pytest
import trio
from hypothesis import example, given, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq._abc import Direct
from trimq._errors import ProtocolError
from trimq._options import Settings
from trimq._wire._connection import Connection
from trimq.testing import MemoryTransport, Recorder, Recording, render
from trimq.wire import Null

jumping = pytest.mark.trio(
    run=lambda main, **kwargs: trio.run(main, **{**kwargs, "clock": MockClock(autojump_threshold=0)})
)

GREETING = bytes.fromhex("ff00000000000000017f0301") + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB"  # wire.md 1.5
HELLO = ["signature ff 00 00 00 00 00 00 00 01 7f", "version 3.1", "mechanism NULL", "as-server 0"]
BEGUN = GREETING + READY
OLD_2 = bytes.fromhex("ff 00 00 00 00 00 00 00 00 7f 01 06 00 03 61 62 63")  # wire.md 2.1


def lines(data: bytes) -> list[str]:
    return [line.removeprefix("> ") for line in render(data).splitlines()]


def traffic(data: bytes) -> list[str]:
    """What is shown behind a greeting and a READY."""
    shown = lines(BEGUN + data)
    assert shown[:5] == [*HELLO, 'READY Socket-Type="SUB"']
    return shown[5:]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\0\5hello", ['message: 5 bytes "hello"']),
        (b"\0\0", ["message: 0 bytes"]),
        (b"\1\2p1\0\5hello\0\1x", ['message: 2 bytes, MORE "p1"', '  and: 5 bytes "hello"', 'message: 1 byte "x"']),
        (b"\2" + (300).to_bytes(8, "big") + b"a" * 300, [f'message: 300 bytes, LONG "{"a" * 32}..."']),
        (b"\0\2\0\xff", [r'message: 2 bytes "\x00\xff"']),
        (b"\4\x0d\x09SUBSCRIBEabc", ['SUBSCRIBE "abc"']),
        (b"\4\x0a\x06CANCELabc", ['CANCEL "abc"']),
        (b"\4\x0a\4PING\2\x58ctx", ['PING ttl 60.0 s, context "ctx"']),
        (b"\4\x08\4PONGctx", ['PONG context "ctx"']),
        (b"\4\x0b\5ERROR\x04nope", ["ERROR 'nope'"]),
        (b"\4\x09\5HELLOabc", ["HELLO 3 bytes"]),  # never what is in it: PLAIN's has the password
        (b"\1\1a\4\5\4PONG\0\1b", ['message: 1 byte, MORE "a"', 'PONG context ""', '  and: 1 byte "b"']),
    ],
)
def test_what_is_shown(data: bytes, shown: list[str]) -> None:
    """Commands by name with what they carry, messages frame by frame: RFC 37, examples of wire.md 1.3 and 1.4."""
    assert traffic(data) == shown


@pytest.mark.parametrize(
    ("data", "expected", "shown"),
    [
        (
            b"GET / HTTP/1.1\r\n",
            "a greeting of ZMTP 1.0",
            '47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a "GET / HTTP',
        ),
        (b"\0", "a ZMTP greeting", "1 byte: 00 "),
        (GREETING[:10] + b"\2", "a ZMTP greeting", "revision 2"),
        (OLD_2[:12] + b"\1\0", "a greeting of ZMTP 2.0", "flags"),
        (OLD_2 + b"\4\5\4PONG", "a command", "no commands"),
        (b"\1\0" + b"\0", "a frame of ZMTP 1.0", "length is 0"),
        (BEGUN + b"\x08\1a", "a frame", "3 bytes: 08 01 61 "),
        (BEGUN + b"\5\5\4PING", "a frame", "MORE flag"),
        (BEGUN + b"\2" + b"\xff" * 8, "a frame", "2^63-1"),
        (BEGUN + b"\4\0", "a command", "without a name"),
        (BEGUN + b"\4\5\4PING", "a command", "at least 2, its ttl"),
        (BEGUN + READY, "a command", "READY twice"),
        (GREETING + b"\0\5hello", "a command", "before its handshake"),
        (GREETING + b"\4\x07\5READY\x0b", "a command", "truncated"),
    ],
)
def test_what_is_malformed(data: bytes, expected: str, shown: str) -> None:
    """It is shown in hexadecimal with what was expected and what a reader says of it, and nothing is guessed behind it."""
    last = lines(data)[-1]
    assert last.startswith(f"malformed, expected {expected}")
    assert shown in last


WHOLE = BEGUN + b"\1\2p1\2\0\0\0\0\0\0\0\5hello" + b"\4\x0a\4PING\2\x58ctx" + b"\0\0"


def test_cut_anywhere() -> None:
    """At each byte: what is complete is shown as in the whole, and one line says where it was cut."""
    whole = lines(WHOLE)
    ends = set()
    for cut in range(len(WHOLE)):
        shown = lines(WHOLE[:cut])
        if shown and shown[-1].startswith("cut in"):
            shown.pop()
        else:
            ends.add(cut)
        assert shown == whole[: len(shown)]
    assert len(ends) == 6  # before and behind the greeting, READY, both frames of the message, PING
    assert lines(WHOLE[:11])[-1] == "cut in the greeting: 11 of its 64 bytes: 03"
    assert lines(WHOLE[: len(BEGUN) + 6])[-1] == "cut in a frame's header: 02 00"
    assert lines(WHOLE[: len(BEGUN) + 15])[-1] == 'cut in a frame: 2 of its 5 bytes, LONG "he"'


def reader_accepts(data: bytes) -> bool:
    """Whether trimq reads all of this without a word against it."""
    wire = Connection(socket_type="PUB", accepts=frozenset({"SUB"}), mechanism=Null(), identity=None, publishes=True)
    try:
        wire.handshake_untrusted(data)
        while wire.peer is not None and wire.decode_untrusted(100):
            pass
    except ProtocolError:
        return False
    return True


@given(st.lists(st.sampled_from([b"\0\1a", b"\1\1a", b"\4\5\4PONG", b"\4\7\4PING\0\0", b"\6", b"\7", READY, b"\4\2\1"])
                | st.binary(max_size=12), max_size=6).map(b"".join))  # fmt: skip
@example(b"")
def test_it_agrees_with_the_reader(data: bytes) -> None:
    """Malformed is what trimq itself refuses, and nothing else; whatever comes, nothing is raised."""
    shown = render(BEGUN + data)
    refuses = "malformed" in shown or re.search("^> ERROR", shown, re.MULTILINE) is not None
    assert reader_accepts(BEGUN + data) is not refuses


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_anything_can_be_rendered(there: bytes, back: bytes) -> None:
    """Neither direction has to be ZMTP."""
    shown = render(there, back)
    assert ("> " in shown) == bool(there)
    assert ("< " in shown) == bool(back)


def test_properties_that_nobody_believes() -> None:
    """What the reader leaves out of a READY is at least counted (wire.md 1.5: User-Id from a peer)."""
    properties = b"\x07User-Id\0\0\0\x03eve"
    command = b"\5READY" + properties
    shown = lines(GREETING + b"\4" + bytes([len(command)]) + command)
    assert shown[-1] == "READY and 15 bytes of properties that are ignored"


def test_an_encrypted_ready() -> None:
    """Of a mechanism with keys only sizes can be shown."""
    greeting = GREETING[:12] + b"CURVE".ljust(20, b"\0") + GREETING[32:]
    assert lines(greeting + b"\4\x0a\5READYabcd")[-1] == "READY 4 bytes, encrypted"


def test_plain() -> None:
    """RFC 24: INITIATE opens the client's direction, as READY does the server's; no password is shown, cut or not."""
    greeting = GREETING[:12] + b"PLAIN".ljust(20, b"\0") + GREETING[32:]
    hello = b"\4\x12\5HELLO\4user\6secret"
    initiate = b"\4\x1c\x08INITIATE\x0bSocket-Type\0\0\0\3SUB"
    assert lines(greeting + hello + initiate + b"\0\5hello")[4:] == [
        "HELLO 12 bytes",
        'INITIATE Socket-Type="SUB"',
        'message: 5 bytes "hello"',
    ]
    for cut in range(len(hello)):
        assert "sec" not in render(greeting + hello[:cut])
    for wrong in (b"\4\x12\0" + hello[3:], b"\5" + hello[1:]):
        assert "malformed" in (shown := render(greeting + wrong))
        assert "secret" not in shown
        assert b"secret".hex(" ") not in shown
    assert lines(greeting + hello + b"\0\5hello")[-1].startswith("malformed, expected a command")
    assert lines(greeting + READY + READY)[-1].startswith("malformed, expected a command")


def test_old_versions() -> None:
    """wire.md 2: peers of ZMTP 2.0 and 1.0, and what is answered; the answers can be told only beside what was asked."""
    ours = bytes.fromhex("ff 00 00 00 00 00 00 00 03 7f 03 05 00 02 6d 65 00 05 68 65 6c 6c 6f")
    assert render(ours, OLD_2 + b"\0\4\1abc").splitlines() == [
        "> signature ff 00 00 00 00 00 00 00 03 7f",
        "> version 3",
        '> DEALER, identity "me"',
        '> message: 5 bytes "hello"',
        "< signature ff 00 00 00 00 00 00 00 00 7f",
        "< version 2.0",
        '< ROUTER, identity "abc"',
        r'< message: 4 bytes "\x01abc"',
    ]
    ours = bytes.fromhex("ff 00 00 00 00 00 00 00 04 7f 58 59 5a 06 00 68 65 6c 6c 6f")
    long_form = b"\xff" + (3).to_bytes(8, "big") + b"\0hi"
    assert render(b"\4\0abc\2\1p" + long_form + b"\5\0", ours).splitlines() == [
        '> ZMTP 1.0, identity "abc"',
        '> message: 1 byte, MORE "p"',
        '>   and: 2 bytes, LONG "hi"',
        "> cut in a frame of ZMTP 1.0: 05 00",
        "< signature ff 00 00 00 00 00 00 00 04 7f",
        '< ZMTP 1.0, identity "XYZ"',
        '< message: 5 bytes "hello"',
    ]
    assert lines(b"\4\0ab") == ["cut in the greeting of ZMTP 1.0: 04 00 61 62"]
    assert lines(OLD_2[:12])[1:] == ["version 2.0", "cut in the greeting of ZMTP 2.0: 06"]
    for message in (b"", b"x"):  # behind a signature their lengths look like revisions of ZMTP
        ours = bytes.fromhex("ff 00 00 00 00 00 00 00 01 7f") + bytes([1 + len(message), 0]) + message
        assert render(ours, b"\1\0").splitlines()[1].startswith(f"> message: {len(message)} byte")
    # What is no ZMTP at all does not make ours look odd.
    assert render(GREETING[:10], b"GET /").splitlines()[0] == "> signature ff 00 00 00 00 00 00 00 01 7f"


# Over streams


def recording_of(recorder: Recorder, verb: str) -> Recording:
    [found] = [recording for recording in recorder.recordings if recording.where.startswith(verb)]
    return found


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "memory"])
async def test_both_ends_of_a_connection(scheme: str) -> None:
    """One end's sent is the other's received, it is what trimq wrote, and str() shows each connection."""
    recorder = Recorder(MemoryTransport() if scheme == "memory" else scheme)
    message = [b"head", bytes(range(256)) * 2000]
    async with trimq.open_context(transports=[recorder]) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        push.connect(pull.bind({"tcp": "tcp://127.0.0.1:*", "ipc": "ipc://*", "memory": "tcp://place:1"}[scheme]))
        for _ in range(3):
            await push.send(message)
            assert await pull.receive() == message
        assert pull.peers[0].address or scheme == "ipc"
        endpoint = str(pull.endpoints[0])
    connected, accepted = recording_of(recorder, "connected"), recording_of(recorder, "accepted")
    peer = {"tcp": "127.0.0.1", "ipc": f":{os.getuid()}:{os.getgid()}:{os.getpid()}", "memory": "memory"}[scheme]
    assert accepted.where == f"accepted at {endpoint} from {peer}"
    assert connected.sent == accepted.received
    assert connected.received == accepted.sent
    assert [line for line in connected.show(times=False).splitlines() if "MORE" in line] == [
        '> message: 4 bytes, MORE "head"'
    ] * 3
    assert connected.sent.count(message[1]) == 3
    assert connected.show(times=False) in recorder.show(times=False)
    assert connected.where in str(recorder)
    assert str(connected) in str(recorder)
    assert "being written" not in str(recorder)


async def test_streams_keep_their_faces() -> None:
    """Direct writing (trimq's own streams) and half-closing stay, and are not made up where there are none."""

    class Plain(trio.abc.Stream):
        send_all = wait_send_all_might_not_block = receive_some = aclose = None  # type: ignore[assignment]

    class OnlyPlain(MemoryTransport):
        async def connect(self, address, settings, resolved=None):  # type: ignore[no-untyped-def]
            return Plain()

    settings = Settings()
    for transport, address, direct, halves in [
        (Recorder("tcp"), "127.0.0.1:*", True, True),
        (Recorder(MemoryTransport()), "a:1", False, True),
        (Recorder(OnlyPlain()), "a:1", False, False),
    ]:
        listener = transport.bind(address, settings)
        stream = await transport.connect(listener.address.partition("://")[2], settings)
        assert isinstance(stream, Direct) is direct
        assert isinstance(stream, trio.abc.HalfCloseableStream) is halves
        listener.close()
        if halves:
            await stream.aclose()


@jumping
async def test_times_are_trios() -> None:
    """Each line has the second, by trio's clock, since the first connection."""
    recorder = Recorder(MemoryTransport())
    async with trimq.open_context(transports=[recorder]) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind("tcp://a:1")
        push.connect("tcp://a:1")
        await push.wait_for_peers()
        await trio.sleep(60)
        await push.send(b"late")
        await pull.receive()
    assert '   60.000 > message: 4 bytes "late"' in recording_of(recorder, "connected").show().splitlines()


@jumping
async def test_a_lost_connection_says_so() -> None:
    """A cut, a write that it left in doubt, and one that is not done yet."""
    network = MemoryTransport(buffer=10)
    recorder = Recorder(network)
    settings = Settings()
    listener = recorder.bind("a:1", settings)
    ours = await recorder.connect("a:1", settings)
    recording = recording_of(recorder, "connected")

    async def write() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x" * 30)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert recording.show(times=False) == "> 30 bytes are being written"
        network.drop_all()
    assert re.search("^> 30 bytes, of which all, some or none were written: Broken", recording.show(times=False))
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some()
    assert "< lost: BrokenResourceError" in recording.show(times=False)
    await ours.aclose()
    await ours.aclose()
    assert recording.show(times=False).splitlines().count("> closed") == 1
    listener.close()


async def test_a_write_that_waits_is_whole() -> None:
    """Direct: what the system took at once, and the rest when it has gone; nothing twice."""
    recorder = Recorder("tcp")
    settings = Settings()
    listener = recorder.bind("127.0.0.1:*", settings)
    ours = await recorder.connect(listener.address.partition("://")[2], settings)
    theirs = await listener.accept()
    assert isinstance(ours, Direct)
    data = random.Random(4).randbytes(8_000_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_buffers, [data[:100], data[100:]])
        await wait_all_tasks_blocked()
        assert "being written" in str(recorder)
        got = b""
        while len(got) < len(data):
            got += await theirs.receive_some(1_000_000)
    assert got == data
    assert recording_of(recorder, "connected").sent == data
    assert recording_of(recorder, "accepted").received == data
    for stream in (ours, theirs):
        await stream.aclose()
    listener.close()


@jumping
async def test_the_limit() -> None:
    """No more than so many bytes are kept of each direction, and a line says so once; the traffic goes on."""
    recorder = Recorder(MemoryTransport(), limit=100)
    async with trimq.open_context(transports=[recorder]) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind("tcp://a:1")
        push.connect("tcp://a:1")
        notes = []
        for _ in range(2):
            for n in range(50):
                await push.send(b"%d" % n)
            assert [await pull.receive() for n in range(50)] == [[b"%d" % n] for n in range(50)]
            recording = recording_of(recorder, "connected")
            notes.append(len(recording._notes))
        assert notes[0] == notes[1]  # nothing at all is kept of what comes later
    assert len(recording.sent) == 100
    assert recording.show().count("> more bytes, which are not kept (limit=100)") == 1


def test_only_streams_can_be_recorded() -> None:
    """The error names the schemes there are."""
    for scheme in ("inproc", "nothing"):
        with pytest.raises(ValueError, match="are tcp, ipc, vmci, vsock, tipc, and not"):
            Recorder(scheme)
    with pytest.raises(ValueError, match="limit"):
        Recorder(limit=-1)
    assert [Recorder(scheme).scheme for scheme in ("tcp", "ipc")] == ["tcp", "ipc"]
    recorder = Recorder("tcp")
    with pytest.raises(trimq.InvalidEndpoint):
        recorder.check("nothing", bind=False)
    with pytest.raises(trimq.ProtocolNotSupported, match="AF_VSOCK"):  # tests/conftest.py sees to that
        Recorder("vmci").check_system()
    assert recorder.dial_address("0.0.0.0:1") == "127.0.0.1:1"
    assert str(recorder) == ""


def test_rendering_both_ways() -> None:
    """One direction after the other: bytes do not say who spoke when."""
    shown = render(GREETING, GREETING[:10]).splitlines()
    assert shown == [*(f"> {line}" for line in HELLO), f"< {HELLO[0]}", "< cut in the greeting: 10 of its 64 bytes"]
    assert list(itertools.chain(render().splitlines())) == []
