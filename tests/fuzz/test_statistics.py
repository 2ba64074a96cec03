"""What statistics say, whatever happens: random programs on a network in memory, a few sockets each (promise 6; issue
5, "Queues that tell").

Each message is in one place: none is counted twice, or below nothing, also while connections are cut, sockets closed
and options changed; nobody receives what nobody wrote; where nothing was cut, what was written was received.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from sockets.helpers import jumping, settle

import trimq
from trimq.testing import MemoryTransport

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (trimq.Push, trimq.Pull),
    (trimq.Dealer, trimq.Dealer),
    (trimq.Pub, trimq.Sub),
    (trimq.XPub, trimq.XSub),
    (trimq.Dealer, trimq.Router),
    (trimq.Req, trimq.Rep),
    (trimq.Pair, trimq.Pair),
]
CHOICES: dict[str, list[Any]] = {
    "send_hwm": [1, 2, 5, math.inf],
    "receive_hwm": [1, 2, 5, math.inf],
    "send_hwm_bytes": [10, 100],
    "receive_hwm_bytes": [10, 100],
    "immediate": [True],
    "conflate": [True],
    "mute": ["block", "drop_new", "drop_old"],
    "verbose": [True],
    "verboser": [True],
    "manual": [True],
    "welcome_message": [b"w"],
}
MOVES = 100


def options(kind: type[trimq.Socket], chance: random.Random) -> dict[str, Any]:
    """A few of those that the type has."""
    known = [name for name in CHOICES if name in kind._option_names()]
    chosen = {name: chance.choice(CHOICES[name]) for name in known if chance.random() < 0.3}
    return {"relaxed": True, **chosen} if kind is trimq.Req else chosen


def check(traffic: trimq.Traffic, *, news: bool) -> None:
    """Nothing is below nothing, and each message is in one place.

    Args:
      news: an XPub is there, which also tells its user that a peer has left with its subscriptions: nobody sent that.
    """
    counts = [traffic.sent, traffic.written, traffic.queued, traffic.in_doubt, traffic.unsent]
    counts += [traffic.dropped, traffic.received, traffic.waiting]
    assert min(counts) >= 0, traffic
    assert traffic.sent == traffic.written + traffic.queued + traffic.in_doubt + traffic.unsent
    assert news or traffic.waiting <= traffic.received


class Program:
    """Does one thing after another, by chance.

    Args:
      calm: nothing is cut or closed.
    """

    def __init__(self, ctx: trimq.Context, network: MemoryTransport, chance: random.Random, *, calm: bool) -> None:
        self.ctx, self.network, self.chance, self.calm = ctx, network, chance, calm
        self.kinds = chance.choice(PAIRS)
        self.place = chance.choice(["tcp://place:1", "inproc://place"])
        self.sockets: list[Any] = []
        self.sent = 0
        first = chance.random() < 0.5
        for kind, binds in zip(self.kinds, (first, not first), strict=True):
            self.add(kind, binds=binds)

    def add(self, kind: type[Any], *, binds: bool) -> None:
        if len(self.sockets) < 6:
            socket = self.ctx.socket(kind, **options(kind, self.chance))
            self.sockets.append(socket)
            if hasattr(socket, "subscribe") and kind is not trimq.XPub:
                socket.subscribe(self.chance.choice([b"", b"m"]))
            self.place_it(socket, binds=binds)

    def place_it(self, socket: Any, *, binds: bool) -> None:
        if not socket.endpoints:
            (socket.bind if binds else socket.connect)(self.place)

    def send(self, socket: Any) -> None:
        self.sent += 1
        message: Any = [b"m%d" % self.sent, *[b"more"] * self.chance.randrange(2)]
        if socket.socket_type == "ROUTER":
            message.insert(0, self.chance.choice([*socket._by_id.remotes, b"nobody"]))
        elif socket.socket_type == "XSUB":
            message = self.chance.choice([b"\1m", b"\0m", b"hello"])
        socket.send_nowait(message)

    def receive(self, socket: Any) -> None:
        for _ in range(self.chance.choice([1, 1, 5])):
            socket.receive_nowait()

    def change(self, socket: Any) -> None:
        name = self.chance.choice(["send_hwm", "receive_hwm", "mute"])
        if name in socket._option_names():
            setattr(socket, name, self.chance.choice(CHOICES[name]))

    def subscribe(self, socket: Any) -> None:
        (socket.subscribe if self.chance.random() < 0.5 else socket.unsubscribe)(b"m")

    def cut(self, socket: Any) -> None:
        what: list[Callable[[], object]] = [self.network.drop_all, socket.close]
        what += [endpoint.close for endpoint in socket.endpoints]
        what += [lambda: socket.disconnect_peer(socket.peers[0])] * bool(socket.peers)
        self.chance.choice(what)()

    async def move(self) -> None:
        socket = self.chance.choice(self.sockets)
        act = self.chance.choices(
            [self.send, self.receive, self.change, self.subscribe, self.cut, None],
            [45, 25, 4, 4, 0 if self.calm else 8, 8],
        )[0]
        try:
            if act is not None and (act is not self.send or hasattr(socket, "send_nowait")):
                act(socket)
            elif self.chance.random() < 0.5:
                self.add(self.chance.choice(self.kinds), binds=self.chance.random() < 0.5)
            elif not socket._closed:
                self.place_it(socket, binds=self.chance.random() < 0.5)
            if self.chance.random() < 0.1:
                await trio.sleep(self.chance.choice([0.05, 0.3]))
        except (AttributeError, trio.WouldBlock, trimq.ZMQError):
            pass  # the type, or the state, has no such thing to do

    async def drain(self) -> None:
        """Receives all there is, and all that comes then."""
        for _ in range(20):
            await trio.sleep(1)
            for socket in self.sockets:
                try:
                    while True:
                        socket.receive_nowait()
                except (AttributeError, trio.WouldBlock, trimq.ZMQError):
                    pass


@jumping
@pytest.mark.parametrize("seed", range(60))
async def test_every_message_is_in_one_place(seed: int) -> None:
    """After each move, for each peer, socket and context; after the end nothing waits to be written."""
    chance = random.Random(seed)
    network = MemoryTransport()
    calm = seed % 3 == 0
    async with trimq.open_context(
        transports=[network], linger=chance.choice([0.0, 0.5]), reconnect_interval=0.1
    ) as ctx:
        program = Program(ctx, network, chance, calm=calm)
        news = trimq.XPub in program.kinds
        for number in range(MOVES):
            await program.move()
            if number % 3 == 0:
                await settle()
            for socket in program.sockets:
                statistics = socket.statistics()
                for traffic in (statistics, *statistics.peers):
                    check(traffic, news=news)
            check(ctx.statistics(), news=news)
        await program.drain()
        for socket in program.sockets:
            if chance.random() < 0.5:
                await socket.aclose()
    total = ctx.statistics()
    check(total, news=news)
    each = [socket.statistics() for socket in program.sockets]
    assert total.queued == 0
    assert total.sent == sum(statistics.sent for statistics in each)
    assert total.received == sum(statistics.received for statistics in each)
    assert total.received <= total.written + total.in_doubt
    whole = not (total.dropped or total.losses or total.in_doubt)
    if calm and whole and program.kinds in (PAIRS[0], PAIRS[1], PAIRS[6]) and program.place.startswith("tcp"):
        assert total.received == total.written
