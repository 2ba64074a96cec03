"""Connections that are cut at a random byte, under random cancellation: what is not delivered is known to the byte.

A relay stands between two trimq sockets on real tcp, and sees every byte of both directions. So the test knows which
messages were given on whole, which the system had taken already (beyond anybody's knowing, promise 6), and that
all others are those that trimq reports as in doubt or unsent.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from cancellation.sampled import LIMIT, SEED, Flow, Haste, Source, no_task_left, receive_some, send_some

import trimq
from trimq._transports._system import SystemStream

COUNT = 300
CUTS = 6
BUFFER = 65_536  # bytes that the system takes on each side: little, so that a cut may find a write that waits
GREETING = 64  # bytes (RFC 23)
MORE, LONG, COMMAND = 1, 2, 4  # a frame's flags (RFC 23)
FAST = 0.005  # seconds between attempts to connect


def numbers(data: bytes) -> list[int]:
    """The numbers of the complete messages in one direction of a connection. Not trimq's own parser, on purpose."""
    found: list[int] = []
    position, first = GREETING, None
    while position + 1 < len(data):
        flags = data[position]
        head = 9 if flags & LONG else 2
        size = int.from_bytes(data[position + 1 : position + head], "big")
        end = position + head + size
        if position + head > len(data) or end > len(data):
            break
        if not flags & COMMAND:
            if first is None:
                first = int(data[position + head : end])
            if not flags & MORE:
                found.append(first)
                first = None
        position = end
    return found


@attrs.define
class Way:
    """One direction of one connection."""

    seen: bytearray = attrs.field(factory=bytearray)  # all that came
    passed: bytearray = attrs.field(factory=bytearray)  # and what was given on
    turn: trio.Lock = attrs.field(factory=trio.Lock)  # to write to where it goes


class Relay:
    """Listens, and passes each connection on to ``target``; cuts it after so many bytes, in either direction.

    A cut is an end of the stream to both, after which it reads on until both have closed: nothing that was given on is
    reset, and all that the system took is seen.
    """

    def __init__(self, budgets: list[int]) -> None:
        self.budgets = budgets  # of each connection; beyond the list it has no limit
        self.ways: list[tuple[Way, Way]] = []  # of each connection: from who dialled, to who dialled
        self.over = 0  # connections that both sides have closed, and of which all was seen
        self.port = 0
        self.target = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # and of what it accepts
            self.port = listener.socket.getsockname()[1]
            task_status.started()
            while True:
                nursery.start_soon(self._connection, await listener.accept())

    async def _connection(self, dialled: trio.SocketStream) -> None:
        index = len(self.ways)
        budget = self.budgets[index] if index < len(self.budgets) else float("inf")
        ways = (Way(), Way())
        self.ways.append(ways)
        target = trio.SocketStream(trio.socket.socket())
        target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        await target.socket.connect(("127.0.0.1", self.target))
        left = [budget]
        cut = trio.Event()

        async def give(source: trio.SocketStream, to: trio.SocketStream, way: Way) -> None:
            try:
                while data := await source.receive_some(65536 if cut.is_set() else 4096):
                    way.seen += data
                    part = data[: int(min(left[0], len(data)))]
                    if part:
                        left[0] -= len(part)
                        way.passed += part
                        async with way.turn:
                            await to.send_all(part)
                    if left[0] <= 0:
                        cut.set()
            except trio.BrokenResourceError:
                pass  # that side has closed already, with something of the other unread
            cut.set()

        async def end(to: trio.SocketStream, way: Way) -> None:
            await cut.wait()
            left[0] = 0
            async with way.turn:  # the last piece may be on its way still
                with suppress(trio.BrokenResourceError):
                    await to.send_eof()

        async with dialled, target, trio.open_nursery() as nursery:
            for source, to, way in ((dialled, target, ways[0]), (target, dialled, ways[1])):
                nursery.start_soon(give, source, to, way)
                nursery.start_soon(end, to, way)
        self.over += 1


def reported(caplog: pytest.LogCaptureFixture, words: str, position: int) -> int:
    """How many messages trimq's log has told of, by what it says of them."""
    return sum(
        record.args[position]  # type: ignore[index, misc]
        for record in caplog.records
        if words in record.msg
    )


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """trimq's sockets have them, too."""
    make = SystemStream.__init__

    def make_small(stream: SystemStream, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        make(stream, sock)

    monkeypatch.setattr(SystemStream, "__init__", make_small)


@pytest.mark.parametrize("sender_dials", [True, False], ids=["dials", "binds"])
@pytest.mark.parametrize("kinds", [(trimq.Push, trimq.Pull), (trimq.Dealer, trimq.Dealer)], ids=["pipeline", "dealers"])
@pytest.mark.parametrize("checkpoints", ["amortised", "every"])
@pytest.mark.parametrize("hwm", [2, 1000])
async def test_cut_at_random_bytes(
    kinds: Any,
    hwm: int,
    checkpoints: Any,
    sender_dials: bool,
    caplog: pytest.LogCaptureFixture,
    small_buffers: None,
) -> None:
    """What arrives is what was given on whole, in order; what does not was taken by the system, or is in doubt, or
    unsent and reported; a connector goes on after each cut, whatever was cancelled meanwhile.
    """
    caplog.set_level(logging.WARNING, "trimq")
    seed = f"{SEED} {kinds} {hwm} {checkpoints} {sender_dials}"
    flow, haste = Flow(seed), Haste(seed)
    # from within the handshake to far beyond it
    relay = Relay(
        [haste.random.randrange(1, haste.random.choice([60, 200, 3000, 40_000, 200_000])) for _ in range(CUTS)]
    )
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as outer:
            await outer.start(relay.run)
            async with trimq.open_context(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:
                options: dict[str, Any] = {"reconnect_interval": FAST, "reconnect_interval_max": FAST}
                sender, receiver = context.socket(kinds[0], **options), context.socket(kinds[1], **options)
                binder, dialler = (receiver, sender) if sender_dials else (sender, receiver)
                relay.target = int(str(binder.bind("tcp://127.0.0.1:*")).rpartition(":")[2])
                dialler.connect(f"tcp://127.0.0.1:{relay.port}")
                got: list[int] = []
                source = Source(flow, range(COUNT), [])

                async def send() -> None:
                    await send_some(sender, source, haste)
                    # Then one after another, until one has arrived that was sent after the last cut.
                    number, fresh = COUNT, None
                    while fresh is None or max(got, default=0) < fresh or len(sender.peers) != 1:
                        if fresh is None and len(relay.ways) > CUTS:
                            fresh = number
                        with haste.scope():
                            await sender.send(flow.message(number))
                            source.sent.append(number)
                            number += 1
                        await trio.lowlevel.checkpoint()

                def take(message: list[bytes]) -> None:
                    got.append(flow.number(message))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(haste.hurry)
                    nursery.start_soon(receive_some, receiver, take, lambda: False, haste)
                    await send()
                    await sender.flush()
                    last = source.sent[-1]
                    while got[-1:] != [last]:
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                sender.close()
                await receiver.aclose()
                await sender.aclose()
                await no_task_left(context)
            while relay.over < len(relay.ways):
                await trio.sleep(1e-3)  # the system may have taken more than the relay has seen so far
            outer.cancel_scope.cancel()
    assert source.over
    way = 0 if sender_dials else 1
    given = [numbers(bytes(ways[way].passed)) for ways in relay.ways]
    assert sorted(got) == sorted(number for part in given for number in part)  # all of it, once,
    for part in given:
        assert [number for number in got if number in set(part)] == part  # in order (of two connections: by turns)
    seen = [number for ways in relay.ways for number in numbers(bytes(ways[way].seen))]
    assert seen == sorted(set(seen))  # nothing was written twice
    assert set(seen) <= set(source.sent)
    in_doubt = reported(caplog, "are in doubt", 1)
    unsent = reported(caplog, "unsent messages", 1)
    if sender_dials:
        assert unsent == 0  # its queue outlives its connections (RFC 30)
    # Of those in doubt some may have been written whole.
    assert unsent <= len(source.sent) - len(seen) <= unsent + in_doubt
    assert haste.cancelled > 10
