"""Session: one connection from open stream to loss. A peer's fault ends that connection, never the program (promise 4)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import trimq
from trimq import Endpoint, EndpointState
from trimq._options import Settings
from trimq._remote import Remote
from trimq._session import describe, hold, is_fault
from trimq.testing import MemoryTransport

GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


class Case:
    """A Pull that holds one connection, whose other end is the test's."""

    def __init__(self, context: trimq.Context, **settings: Any) -> None:
        self.socket = context.socket(trimq.Pull)
        self.settings = Settings(**settings)
        self.ours, self.theirs = memory_stream_pair()
        self.endpoint = Endpoint("tcp://here:1", bound=True, pace=context._pace)
        self.states: list[str] = []
        self.remote: Remote | None = None
        self.outcome: Any = "none yet"
        self.scope = trio.CancelScope()

    def open(self) -> Remote:
        self.remote = self.socket._open(dialled=False)
        return self.remote

    def tell(self, state: EndpointState, cause: Exception | None) -> None:
        self.states.append(state.value)

    async def run(self) -> None:
        transport = MemoryTransport()
        transport.peer_address = lambda stream: "there"  # type: ignore[method-assign]
        with self.scope:
            self.outcome = await hold(
                self.socket, self.ours, transport, self.settings, self.endpoint, self.open, self.tell
            )

    async def closed(self) -> bool:
        try:
            await self.theirs.send_all(b"x")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return True
        return False


async def shake_hands(case: Case, context: trimq.Context) -> bytes:
    """Plays a Push up to the end of its handshake; returns nothing of interest."""
    push = context.socket(trimq.Push)
    wire = push._wire(Settings())
    await case.theirs.send_all(wire.begin())
    while wire.peer is None:
        await case.theirs.send_all(wire.handshake_untrusted(bytes(await case.theirs.receive_some())) or b"")
    return b"".join(wire.encode([b"one", b"two"]))


async def test_a_good_one(autojump_clock: MockClock) -> None:
    """It tells how far it is, passes what comes, and says why it ended."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        case = Case(context)
        nursery.start_soon(case.run)
        messages = await shake_hands(case, context)
        await wait_all_tasks_blocked()
        assert case.states == ["handshaking", "ready"]
        [peer] = case.socket.peers
        assert (peer.socket_type, peer.address) == ("PUSH", "there")
        await case.theirs.send_all(messages)
        assert [await case.socket.receive() for _ in range(2)] == [[b"one"], [b"two"]]
        await case.theirs.aclose()
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, ConnectionResetError)
        assert case.states == ["handshaking", "ready", "waiting"]
        assert case.socket.peers == ()
        assert not is_fault(case.outcome)


async def test_what_came_before_the_end_is_kept(autojump_clock: MockClock) -> None:
    """What a peer sent before it went, or before it broke the protocol, can still be received."""
    for tail, kind in ((b"", ConnectionResetError), (b"\xff" * 20, trimq.ProtocolError)):
        async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
            case = Case(context)
            nursery.start_soon(case.run)
            messages = await shake_hands(case, context)
            await case.theirs.send_all(messages + tail)
            if not tail:
                await case.theirs.send_eof()
            await wait_all_tasks_blocked()
            assert isinstance(case.outcome, kind)
            assert case.socket.receive_nowait() == [b"one"]
            assert case.socket.receive_nowait() == [b"two"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", trimq.ProtocolError), (b"\xff\0\0\0", trimq.ProtocolError), (GARBAGE, trimq.ProtocolError)],
)
async def test_no_handshake(data: bytes, kind: type[Exception], autojump_clock: MockClock) -> None:
    """Who goes, or says something else, during the handshake never becomes a peer."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        case = Case(context)
        nursery.start_soon(case.run)
        if data:
            await case.theirs.send_all(data)
        await wait_all_tasks_blocked()
        await case.theirs.aclose()
        await wait_all_tasks_blocked()
        assert type(case.outcome) is kind
        assert describe(case.outcome)
        assert case.states == ["handshaking"]
        assert case.remote is None


async def test_too_slow(autojump_clock: MockClock) -> None:
    """A handshake that takes too long is a TimeoutError, which may pass; the stream is closed."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        case = Case(context, handshake_timeout=4.0)
        nursery.start_soon(case.run)
        await trio.sleep(3.9)
        assert case.outcome == "none yet"
        await trio.sleep(0.2)
        assert isinstance(case.outcome, TimeoutError)
        assert "4" in str(case.outcome)
        assert not is_fault(case.outcome)
        assert await case.closed()


async def test_a_frame_too_large(autojump_clock: MockClock) -> None:
    """ZMQ_MAXMSGSIZE: a larger frame ends the connection; nothing of it is received."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        case = Case(context, max_message_size=100)
        nursery.start_soon(case.run)
        await shake_hands(case, context)
        await case.theirs.send_all(b"\2" + (101).to_bytes(8, "big") + b"x" * 101)
        await wait_all_tasks_blocked()
        assert isinstance(case.outcome, trimq.ProtocolError)
        with pytest.raises(trio.WouldBlock):
            case.socket.receive_nowait()


@pytest.mark.parametrize("when", ["handshake", "traffic"])
async def test_cancelled(when: str, autojump_clock: MockClock) -> None:
    """Cancelled, it closes at once, wherever it is; its remote has no peer any more."""
    async with trimq.open_context(linger=0.0) as context, trio.open_nursery() as nursery:
        case = Case(context)
        nursery.start_soon(case.run)
        if when == "traffic":
            await shake_hands(case, context)
        await wait_all_tasks_blocked()
        case.scope.cancel()
        await wait_all_tasks_blocked()
        assert case.outcome == "none yet"
        assert case.scope.cancelled_caught
        assert case.socket.peers == ()
        assert await case.closed()


@pytest.mark.parametrize("when", ["handshake", "link", "traffic"])
async def test_a_bug_surfaces(when: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Promise 4: OSError, BrokenResourceError and ProtocolError are the peer's faults; nothing else is caught."""

    class Bug(Exception):
        pass

    def fail(*args: Any) -> Any:
        raise Bug

    async with trimq.open_context(linger=0.0) as context:
        case = Case(context)
        with pytest.raises(Exception) as caught:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.run)
                if when == "link":
                    monkeypatch.setattr(case.socket, "_link", fail)
                if when == "handshake":
                    monkeypatch.setattr("trimq._link.Link.handshake", fail)
                else:
                    messages = await shake_hands(case, context)
                    await wait_all_tasks_blocked()
                    if when == "traffic":
                        assert case.remote is not None
                        monkeypatch.setattr(case.remote.inbox.__class__, "put_many", fail)
                        await case.theirs.send_all(messages)
                await trio.sleep_forever()
        assert "Bug" in repr(caught.value)
        assert await case.closed()


async def test_what_is_in_doubt_is_told(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    """Promise 6: what was in the one write that failed is told as in doubt, and not sent twice; the rest is."""
    caplog.set_level(logging.WARNING, "trimq")
    network = MemoryTransport(buffer=64)
    async with trimq.open_context(transports=[network], linger=0.0) as context:
        push, pull = context.socket(trimq.Push, send_hwm=5000), context.socket(trimq.Pull, receive_hwm=1)
        push.connect(pull.bind("tcp://there:1"))
        await push.wait_for_peers(1)
        await push.send_many([b"%d" % n + b"-" * 100 for n in range(3000)])
        await wait_all_tasks_blocked()
        network.drop_all()
        got: list[int] = []
        with trio.move_on_after(60):
            async for [frame] in pull:
                got.append(int(frame.partition(b"-")[0]))
        assert got == sorted(set(got))
        assert got[-1] == 2999
        [told] = caplog.messages
        missing = 3000 - len(got)
        who, count, *_ = told.split()
        assert who == "Push:"
        assert "for tcp://there:1" in told
        assert 0 < missing <= int(count) <= 1000


async def test_an_error_of_our_own_is_no_peers_fault(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Promise 4: a bug that shows as one of our own OSErrors below a link surfaces as itself, and closes nobody's link."""
    bug = trimq.StateError("a bug")

    def arrived(remote: Any) -> None:
        raise bug

    with pytest.raises(trimq.StateError) as caught:
        async with trimq.open_context(transports=[MemoryTransport()], linger=0.0) as context:
            push, pull = context.socket(trimq.Push), context.socket(trimq.Pull)
            monkeypatch.setattr(pull, "_arrived", arrived)
            push.connect(pull.bind("tcp://there:1"))
            await push.send(b"sets it off")
            await trio.sleep_forever()
    assert caught.value is bug
