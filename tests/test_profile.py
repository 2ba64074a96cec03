"""``open_context(profile="libzmq")``: each default that trimq has otherwise than libzmq, since users were hurt, is
libzmq's again (design 2; libzmq.md 2.2, 5.5 to 5.7). What heartbeats do with it is in test_heart.py.
"""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest
import trio
from sockets.helpers import jumping, opened, reaches, settle

import trimq
from trimq import EndpointState, events
from trimq._options import Option, Settings
from trimq._sockets import ALL_TYPES
from trimq.testing import MemoryTransport

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
"""How a peer of ZMTP 3.1 begins; the name of its mechanism follows."""

DIFFERENT: dict[str, tuple[Any, Any]] = {
    "ipv6": (True, False),
    "tcp_keepalive": (True, False),
    "heartbeat_interval": (15.0, math.inf),
}
"""The options among the differences, but for the back-off: trimq's defaults and libzmq's."""


class Watched(MemoryTransport):
    """Notes when it was dialled."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []

    async def connect(self, address: str, settings: Settings, resolved: Any = None) -> Any:
        self.attempts.append(trio.current_time())
        return await super().connect(address, settings, resolved)

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.attempts, self.attempts[1:], strict=False)]


@pytest.mark.parametrize("profile", ["trimq", "libzmq"])
async def test_defaults(profile: Any) -> None:
    """Every type has them, and no option but these, and the longest wait, is another."""
    async with trimq.open_context(profile=profile) as ctx:
        for kind in ALL_TYPES:
            made: Any = ctx.socket(kind)
            for name in kind._option_names():
                option = getattr(kind, name)
                assert isinstance(option, Option)
                if name in DIFFERENT:
                    assert getattr(made, name) == DIFFERENT[name][profile == "libzmq"]
                elif name == "reconnect_interval_max":
                    assert (getattr(made, name) == 5.0) is (profile == "trimq")
                elif name == "linger":
                    assert made.linger == kind._default_linger
                else:
                    assert getattr(made, name) == (made.mute == "block" if name == "nodrop" else option.default)


async def test_what_is_given_comes_first() -> None:
    """Options of the context come before the profile, and those of the socket before both."""
    async with trimq.open_context(profile="libzmq", ipv6=True, heartbeat_interval=5.0) as ctx:
        push = ctx.socket(trimq.Push, heartbeat_interval=7.0)
        assert (push.ipv6, push.heartbeat_interval, push.tcp_keepalive) == (True, 7.0, False)
        assert ctx.socket(trimq.Pull).heartbeat_interval == 5.0


def test_there_are_two() -> None:
    """Another name is a ValueError that says so."""
    with pytest.raises(ValueError, match='"trimq" or "libzmq"'):
        trimq.open_context(profile="zmq")  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", ["trimq", "libzmq"])
async def test_ipv6(profile: Any) -> None:
    """A wildcard is IPv4 alone, and a literal of IPv6 is not accepted, unless ``ipv6`` is set."""
    async with trimq.open_context(profile=profile) as ctx:
        pull = ctx.socket(trimq.Pull)
        address = str(pull.bind("tcp://*:*"))
        port = int(address.rsplit(":", 1)[1])
        assert address == f"tcp://0.0.0.0:{port}"
        reachable = True
        try:
            (await trio.open_tcp_stream("::1", port)).socket.close()
        except OSError:
            reachable = False
        assert reachable is (profile == "trimq")


@pytest.mark.parametrize("profile", ["trimq", "libzmq"])
async def test_keepalive(profile: Any) -> None:
    """TCP_KEEPALIVE=-1: the system's default, off, is left alone."""
    async with trimq.open_context(profile=profile) as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        made: list[int] = []
        transport: Any = ctx._transports["tcp"]
        connect = transport.connect

        async def noting(*args: Any) -> Any:
            stream = await connect(*args)
            made.append(stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            return stream

        transport.connect = noting
        await push.connect(pull.bind("tcp://127.0.0.1:*")).ready()
        assert made == [int(profile == "trimq")]


@jumping
@pytest.mark.parametrize("interval", [None, 0.01])
async def test_reconnects(interval: float | None) -> None:
    """RECONNECT_IVL_MAX=0: the wait is the interval and up to as much again, at random, and does not grow."""
    network = Watched()
    options = {} if interval is None else {"reconnect_interval": interval}
    async with opened(network, profile="libzmq", **options) as ctx:
        ctx.socket(trimq.Push).connect("tcp://nobody:1")
        base = interval or 0.1
        await trio.sleep(200 * base)
        pauses = network.pauses()
        assert all(base - 1e-9 <= pause <= 2 * base + 1e-9 for pause in pauses)
        assert len(pauses) >= 90
        assert max(pauses) - min(pauses) > base / 2


@jumping
async def test_reconnects_that_back_off() -> None:
    """With RECONNECT_IVL_MAX: doubled each time, up to that, and nothing is left to chance."""
    network = Watched()
    async with opened(network, profile="libzmq", reconnect_interval=1.0, reconnect_interval_max=5.0) as ctx:
        ctx.socket(trimq.Push).connect("tcp://nobody:1")
        await trio.sleep(30)
        assert network.pauses()[:5] == pytest.approx([1.0, 2.0, 4.0, 5.0, 5.0])


async def answer(network: MemoryTransport, data: bytes, listens_for: int) -> None:
    """A peer that says this to whoever comes, and hangs up after so many bytes."""
    listener = network.bind("place:1", Settings())
    while True:
        async with await listener.accept() as stream:
            await stream.send_all(data)
            heard = 0
            while heard < listens_for and (more := await stream.receive_some()):
                heard += len(more)


FAULTS = {
    "mechanism": GREETING + b"BOGUS".ljust(20, b"\0") + bytes(32),
    "garbage": GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\4\6\5RAEDY",
    "type": GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\4\x19\5READY\x0bSocket-Type\0\0\0\3PUB",
}


@jumping
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("profile", ["trimq", "libzmq"])
async def test_after_a_fault_of_the_protocol(profile: Any, fault: str) -> None:
    """libzmq's connector gives up for good. Here that is told, too, as a state with its cause and as an event."""
    network = Watched()
    async with opened(network, profile=profile) as ctx, trio.open_nursery() as nursery:
        nursery.start_soon(answer, network, FAULTS[fault], 1000)
        push = ctx.socket(trimq.Push)
        async with push.events() as stream:
            endpoint = push.connect("tcp://place:1")
            with pytest.raises(trimq.ProtocolError):
                await endpoint.ready()
            await trio.sleep(60)
            told: list[Any] = []
            while not told or not isinstance(told[-1], (events.GaveUp, events.ConnectRetried)):
                told.append(await stream.receive())
            assert isinstance(told[-1].cause, trimq.ProtocolError)
        if profile == "libzmq":
            assert endpoint.state is EndpointState.LOST
            assert push.endpoints == ()
            assert isinstance(told[-1], events.GaveUp)
            assert len(network.attempts) == 1
            with pytest.raises(trimq.ProtocolError):
                await endpoint.ready()
            assert push.connect("tcp://place:1") is not endpoint  # and a new connect dials afresh
        else:
            assert endpoint.state is not EndpointState.LOST
            assert len(network.attempts) > 5
        nursery.cancel_scope.cancel()


@jumping
async def test_after_a_peer_that_hangs_up() -> None:
    """A connection that is lost in the handshake is one that is lost: libzmq comes back, with the profile and without."""
    network = Watched()
    async with opened(network, profile="libzmq") as ctx, trio.open_nursery() as nursery:
        nursery.start_soon(answer, network, GREETING, 64)
        endpoint = ctx.socket(trimq.Push).connect("tcp://place:1")
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
        assert endpoint.state is not EndpointState.LOST
        assert len(network.attempts) > 5


@jumping
async def test_a_fault_before_the_peer_hangs_up() -> None:
    """Who talks nonsense and closes at once has talked nonsense: that our ERROR could not be written is not the cause."""
    network = Watched()
    async with opened(network) as ctx, trio.open_nursery() as nursery:
        nursery.start_soon(answer, network, FAULTS["mechanism"], 1)
        endpoint = ctx.socket(trimq.Push).connect("tcp://place:1")
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
        assert isinstance(endpoint.cause, trimq.ProtocolError)


@jumping
async def test_no_pings() -> None:
    """HEARTBEAT_IVL=0: an hour of silence, and nothing was written."""
    async with opened(profile="libzmq") as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        pull.bind("tcp://place:1")
        await push.connect("tcp://place:1").ready()
        await settle()
        before = pull.statistics().bytes_received, push.statistics().bytes_received
        await trio.sleep(3600)
        assert (pull.statistics().bytes_received, push.statistics().bytes_received) == before
        assert len(push.peers) == len(pull.peers) == 1


@jumping
async def test_a_lost_connection_comes_back() -> None:
    """As without the profile, after one interval and up to as much again."""
    network = Watched()
    async with opened(network, profile="libzmq") as ctx:
        push, pull = ctx.socket(trimq.Push), ctx.socket(trimq.Pull)
        pull.bind("tcp://place:1")
        endpoint = push.connect("tcp://place:1")
        await endpoint.ready()
        network.drop_all()
        await reaches(endpoint, EndpointState.WAITING)
        start = trio.current_time()
        await endpoint.ready()
        assert 0.1 - 1e-9 <= trio.current_time() - start <= 0.2 + 1e-9
