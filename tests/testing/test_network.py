"""The network's faults: that each is as tcp's is, and what trimq makes of it (issue 4, instrument 1 and 'Faults').

Every wait is trio's own, so the clock jumps; what is random follows from the seeds that stand in the tests' names.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest
import trio
from trio.testing import MockClock, check_half_closeable_stream

import trimq
from trimq._options import Settings
from trimq.testing import MemoryStream, MemoryTransport

ON = Settings()
PLACE = "tcp://place:1"


async def pair(network: MemoryTransport, settings: Settings = ON) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection from ``memory`` to ``here``."""
    listener = network.bind("here:*", settings)
    ours = await network.connect(listener.address.removeprefix("tcp://"), settings)
    theirs = await listener.accept()
    listener.close()
    assert isinstance(theirs, MemoryStream)
    return ours, theirs


async def exactly(stream: MemoryStream, count: int) -> bytes:
    """The next bytes."""
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece
        data += piece
    return data


# The streams


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param({"latency": 0.3}, id="latency"),
        pytest.param({"bandwidth": 1e6}, id="bandwidth"),
        pytest.param({"torn": True}, id="torn"),
        pytest.param({"torn": True, "latency": 0.3, "bandwidth": 1e6}, id="all", marks=pytest.mark.slow),
    ],
)
async def test_streams_keep_trios_contract(faults: dict[str, Any], autojump_clock: MockClock) -> None:
    """trio's own checks of a half-closeable stream hold on every kind of network."""

    async def make() -> tuple[MemoryStream, MemoryStream]:
        return await pair(MemoryTransport(seed=1, **faults))

    async def clogged() -> tuple[MemoryStream, MemoryStream]:
        ours, theirs = await pair(MemoryTransport(buffer=1, seed=1, **faults))
        await ours.send_all(b"x")
        await theirs.send_all(b"x")
        return ours, theirs

    await check_half_closeable_stream(make, clogged)


@pytest.mark.parametrize(
    "wrong", [{"latency": -1}, {"latency": math.inf}, {"latency": math.nan}, {"bandwidth": 0}, {"bandwidth": math.nan}]
)
def test_numbers_that_cannot_be(wrong: dict[str, Any]) -> None:
    """A ValueError that names the argument."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MemoryTransport(**wrong)


async def test_latency_and_bandwidth(autojump_clock: MockClock) -> None:
    """A connect takes a way there and back; the last byte arrives after its transmission and the latency."""
    start = trio.current_time()
    ours, theirs = await pair(MemoryTransport(latency=2.0, bandwidth=100.0))
    assert trio.current_time() - start == pytest.approx(4)
    start = trio.current_time()
    await ours.send_all(b"x" * 1000)
    assert trio.current_time() == start  # there was room
    await exactly(theirs, 1000)
    assert trio.current_time() - start == pytest.approx(12)
    await ours.aclose()
    assert await theirs.receive_some() == b""
    assert trio.current_time() - start == pytest.approx(14)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


async def test_a_refusal_takes_its_time(autojump_clock: MockClock) -> None:
    """Who is refused hears it after a way there and back."""
    start = trio.current_time()
    with pytest.raises(ConnectionRefusedError):
        await MemoryTransport(latency=1.5).connect("nobody:1", ON)
    assert trio.current_time() - start == pytest.approx(3)


async def torn_pieces(seed: int, others: int = 0) -> list[int]:
    """The lengths in which 1,000 bytes are read, with so many connections of other hosts before."""
    network = MemoryTransport(torn=True, seed=seed)
    for _ in range(others):
        await pair(network.host("other"))
    ours, theirs = await pair(network)
    await ours.send_all(bytes(1000))
    lengths: list[int] = []
    while sum(lengths) < 1000:
        lengths.append(len(await theirs.receive_some()))
    return lengths


async def test_the_seed_decides() -> None:
    """The same seed tears in the same way, another one in another, whoever else connects; and it does tear."""
    assert await torn_pieces(1) == await torn_pieces(1) == await torn_pieces(1, others=3) != await torn_pieces(2)
    assert min([len(await torn_pieces(seed)) for seed in range(4)]) > 3


@pytest.mark.parametrize("seed", range(4))
async def test_writes_are_torn(seed: int) -> None:
    """Others run between the pieces of one write, and see a part of it."""
    ours, theirs = await pair(MemoryTransport(torn=True, seed=seed))
    seen: set[int] = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(1000))
        while theirs._in.arrived < 1000:
            seen.add(theirs._in.arrived)
            await trio.lowlevel.checkpoint()
    assert len(seen) > 3
    assert await exactly(theirs, 1000) == bytes(1000)


@pytest.mark.parametrize("latency", [0.0, 1.0])
@pytest.mark.parametrize("count", [0, 1, 5, 9, 10])
async def test_cut_after(count: int, latency: float, autojump_clock: MockClock) -> None:
    """The n-th byte and all before it arrive, none after; then both ends find it broken."""
    ours, theirs = await pair(MemoryTransport(latency=latency))
    ours.cut_after(sent=count)
    try:
        await ours.send_all(b"0123456789")
    except trio.BrokenResourceError:
        assert count < 10
    else:
        assert latency or count == 10
    received = b""
    with pytest.raises(trio.BrokenResourceError):
        while True:
            received += await theirs.receive_some()
    assert received == b"0123456789"[:count]
    for stream in (ours, theirs):
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
    assert not ours.connected


async def test_cut_after_of_what_comes() -> None:
    """The other direction; what has arrived in this one can still be read. A byte that has passed cuts at once."""
    ours, theirs = await pair(MemoryTransport())
    await ours.send_all(b"here already")
    ours.cut_after(received=2)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"abc")
    assert await ours.receive_some() == b"ab"
    assert await theirs.receive_some() == b"here already"
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()
    ours, theirs = await pair(MemoryTransport())
    await ours.send_all(b"abc")
    ours.cut_after(sent=2)
    assert not theirs.connected
    for nothing in ({}, {"sent": -1}):
        with pytest.raises(ValueError, match="say with which byte"):
            ours.cut_after(**nothing)


async def test_partition(autojump_clock: MockClock) -> None:
    """Nothing arrives and nothing is refused; what was sent, the end included, comes in order after heal."""
    network = MemoryTransport(buffer=10)
    ours, theirs = await pair(network)
    network.partition("here")
    await ours.send_all(b"0123456789")
    with trio.move_on_after(100) as scope:
        await ours.wait_send_all_might_not_block()
    assert scope.cancelled_caught  # it is full
    await ours.aclose()
    with trio.move_on_after(100) as scope:
        await theirs.receive_some()
    assert scope.cancelled_caught
    with trio.move_on_after(100) as scope:
        await network.connect("here:1", ON)
    assert scope.cancelled_caught
    network.heal()
    assert await theirs.receive_some() == b"0123456789"
    assert await theirs.receive_some() == b""


async def test_what_was_under_way_waits_too(autojump_clock: MockClock) -> None:
    """A byte that has not arrived when the network parts arrives the latency after heal."""
    network = MemoryTransport(latency=1.0)
    ours, theirs = await pair(network)
    await ours.send_all(b"x")
    await trio.sleep(0.5)
    network.partition()
    await trio.sleep(100)
    network.heal()
    start = trio.current_time()
    assert await theirs.receive_some() == b"x"
    assert trio.current_time() - start == pytest.approx(1)


async def test_groups(autojump_clock: MockClock) -> None:
    """Hosts of one group reach each other, and so do those in none; a host is in one group only."""
    network = MemoryTransport()
    hosts = {name: network.host(name) for name in "abcd"}
    for host in hosts.values():
        assert host.bind("*:1", ON).address == f"tcp://{host._host}:1"

    async def reach(one: str, other: str) -> bool:
        with trio.move_on_after(1):
            stream = await hosts[one].connect(f"{other}:1", ON)
            assert network.peer_address(stream.other) == one
            return True
        return False

    network.partition(["a", "b"])
    assert [await reach("a", other) for other in "abcd"] == [True, True, False, False]
    assert [await reach("c", other) for other in "abcd"] == [False, False, True, True]
    network.partition()
    assert not any([await reach(one, other) for one in "abcd" for other in "abcd"])
    network.heal()
    assert all([await reach(one, other) for one in "abcd" for other in "abcd"])
    with pytest.raises(ValueError, match="one group only"):
        network.partition("a", ["a", "b"])


async def test_a_connect_gives_up_as_syns_do(autojump_clock: MockClock) -> None:
    """Linux's six SYNs take 127 seconds; healed before that, the connect comes through."""
    network = MemoryTransport()
    network.bind("a:1", ON)
    network.partition("a")
    start = trio.current_time()
    with pytest.raises(TimeoutError):
        await network.connect("a:1", ON)
    assert trio.current_time() - start == pytest.approx(127)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.connect, "a:1", ON)
        await trio.sleep(100)
        network.heal()
    assert len(network.connections) == 1


@pytest.mark.parametrize("fault", ["partition", "vanish"])
async def test_an_end_gives_up_as_tcp_does(fault: str, autojump_clock: MockClock) -> None:
    """What is not answered for 924.6 s, or silence for 7875 s with keep-alive, ends the connection; without, nothing."""
    for sends, keepalive, patience in ((True, False, 924.6), (False, True, 7875.0), (False, False, math.inf)):
        network = MemoryTransport()
        ours, theirs = await pair(network, Settings(tcp_keepalive=keepalive))
        if fault == "vanish":
            theirs.vanish()
        else:
            network.partition()
        start = trio.current_time()
        if sends:
            await ours.send_all(b"x")
        with trio.move_on_after(1e6) as scope:
            with pytest.raises(trio.BrokenResourceError):
                await ours.receive_some()
            assert trio.current_time() - start == pytest.approx(patience)
        assert scope.cancelled_caught == (patience == math.inf)


async def test_who_has_not_given_up_goes_on_waiting(autojump_clock: MockClock) -> None:
    """One end has noticed the partition; the tasks at the other wait, both of them, and do not keep each other awake."""
    network = MemoryTransport(buffer=1)
    ours, theirs = await pair(network, Settings(tcp_keepalive=False))
    await theirs.send_all(b"1")  # it has arrived, and nobody reads it
    network.partition()
    await ours.send_all(b"x")
    with trio.move_on_after(5000) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.receive_some)
            nursery.start_soon(theirs.send_all, b"2")
            await trio.sleep(1000)
            assert not ours.connected
    assert scope.cancelled_caught


async def test_vanish(autojump_clock: MockClock) -> None:
    """The end that is gone is broken; the other believes it is connected, and what it sends disappears."""
    network = MemoryTransport(buffer=10)
    ours, theirs = await pair(network)
    await theirs.send_all(b"arrived")
    theirs.vanish()
    for call in (theirs.receive_some(), theirs.send_all(b"x")):
        with pytest.raises(trio.BrokenResourceError):
            await call
    await theirs.aclose()
    assert await ours.receive_some() == b"arrived"
    await ours.send_all(b"lost")
    network.partition()
    network.heal()  # brings nobody back
    with trio.move_on_after(100) as scope:
        await ours.receive_some()
    assert scope.cancelled_caught
    await ours.aclose()


async def test_a_peer_that_gave_up_answers_with_a_reset(autojump_clock: MockClock) -> None:
    """After a partition that only one end has noticed, what the other sends finds nobody."""
    network = MemoryTransport()
    ours, theirs = await pair(network, Settings(tcp_keepalive=False))
    network.partition()
    await ours.send_all(b"x")
    await trio.sleep(1000)
    network.heal()
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some()
    assert await theirs.receive_some() == b"x"
    await theirs.send_all(b"y")
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()


# trimq over it


def in_doubt(caplog: pytest.LogCaptureFixture) -> int:
    """How many messages were reported as in doubt or dropped."""
    return sum(int(n) for n in re.findall(r"(\d+) (?:messages are in doubt|unsent messages)", caplog.text))


LARGE = b"y" * 300  # a long frame header


@pytest.mark.parametrize("direction", ["sent", "received"])
async def test_a_loss_at_each_byte(direction: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Lost at any byte of the handshake or of a message: the dialer comes back, nothing torn is delivered, and each
    message is delivered once, in order, or reported in doubt (promises 4 and 6).
    """
    sent = [[b"0", b"two frames"], [b"1", LARGE], [b"2", b""], [b"3", b"last"]]
    count, received = 0, list[list[bytes]]()
    for count in itertools.count():
        caplog.clear()
        connects: list[MemoryStream] = []

        def fail_first(stream: MemoryStream, count: int = count, connects: Any = connects) -> None:
            connects.append(stream)
            if len(connects) == 1:
                stream.cut_after(**{direction: count})

        network = MemoryTransport(on_connect=fail_first)
        received = list[list[bytes]]()
        async with trimq.open_context(transports=[network], linger=60.0) as ctx:
            pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
            pull.bind(PLACE)
            push.connect(PLACE)
            for message in sent:
                await push.send(message)
            with trio.move_on_after(60):
                while True:
                    received.append(await pull.receive())
            if connects[0].connected:
                break  # these were all bytes
            await push.wait_for_peers()
            await push.send([b"and on"])
            with trio.fail_after(60):
                assert await pull.receive() == [b"and on"]
        left = iter(sent)
        assert all(message in left for message in received), (count, received)  # whole, once, in order
        assert len(sent) - len(received) <= in_doubt(caplog), count
        assert len(connects) == 2, count
    assert received == sent
    assert count >= (64 + 28 + 341 if direction == "sent" else 64 + 28)


async def test_a_loss_at_each_byte_of_a_reply(autojump_clock: MockClock) -> None:
    """The way back, with messages in it: a Router's replies to a Dealer come whole, once and in order, or not at all."""
    sent = [[b"0", b"x"], [b"1", LARGE], [b"2"]]
    count, received = 0, list[list[bytes]]()
    for count in itertools.count():
        network = MemoryTransport()
        received = list[list[bytes]]()
        async with trimq.open_context(transports=[network], linger=0.0) as ctx:
            router, dealer = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer, routing_id=b"d")
            router.bind(PLACE)
            dealer.connect(PLACE)
            await router.wait_for_peers()
            await dealer.wait_for_peers()
            [stream] = network.connections
            stream.cut_after(received=stream._in.arrived + count)
            if count:
                for message in sent:
                    await router.send([b"d", *message])
            with trio.move_on_after(60):
                while True:
                    received.append(await dealer.receive())
            if stream.connected:
                break
            await dealer.wait_for_peers()
            await dealer.send(b"back")
            with trio.fail_after(60):
                assert await router.receive() == [b"d", b"back"]
        left = iter(sent)
        assert all(message in left for message in received), (count, received)
    assert received == sent
    assert count > 320


async def test_linger_over_a_slow_network(autojump_clock: MockClock) -> None:
    """100 messages of 1,000 bytes at 1,000 bytes a second: leaving waits for as long as linger says, no longer."""
    for linger, all_come in ((1000.0, True), (20.0, False)):
        network = MemoryTransport(latency=0.5, bandwidth=1000.0, buffer=8000)
        received: list[bytes] = []
        async with trimq.open_context(transports=[network], linger=0.0) as there, trio.open_nursery() as nursery:
            pull = there.socket(trimq.Pull)
            pull.bind(PLACE)

            async def collect(pull: trimq.Pull = pull, received: list[bytes] = received) -> None:
                async for message in pull:
                    received.append(message[0][:4])

            nursery.start_soon(collect)
            async with trimq.open_context(transports=[network], linger=linger) as here:
                push = here.socket(trimq.Push)
                push.connect(PLACE)
                await push.wait_for_peers()
                for n in range(100):
                    await push.send(b"%04d" % n + bytes(996))
                start = trio.current_time()
            took = trio.current_time() - start
            await trio.sleep(30)  # what the network has taken arrives
            nursery.cancel_scope.cancel()
        assert received == [b"%04d" % n for n in range(len(received))]
        assert (len(received) == 100) == all_come
        assert 90 < took < 110 if all_come else took == pytest.approx(linger, abs=0.1)


async def test_a_partition_longer_than_linger(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Leaving ends after linger, partition or not, and says what was not sent (promises 3 and 6)."""
    network = MemoryTransport(buffer=200)
    async with trimq.open_context(transports=[network.host("server")], linger=0.0) as there:
        pull = there.socket(trimq.Pull)
        pull.bind("tcp://*:1")
        async with trimq.open_context(transports=[network.host("client")], linger=5.0) as here:
            push = here.socket(trimq.Push)
            push.connect("tcp://server:1")
            await push.wait_for_peers()
            await push.send(b"before")
            assert await pull.receive() == [b"before"]
            network.partition("server")
            for n in range(20):
                await push.send(b"%100d" % n)
            start = trio.current_time()
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
        network.heal()
        received: list[list[bytes]] = []
        with trio.move_on_after(10):
            while True:
                received.append(await pull.receive())
    assert received == [[b"%100d" % n] for n in range(len(received))]
    assert len(received) + in_doubt(caplog) >= 20
    assert in_doubt(caplog) > 0


async def test_a_partition_shorter_than_linger(autojump_clock: MockClock) -> None:
    """Healed in time, everything arrives over the same connection."""
    network = MemoryTransport(buffer=200)
    async with trimq.open_context(transports=[network], linger=60.0) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind(PLACE)
        push.connect(PLACE)
        await push.wait_for_peers()
        connections = network.connections
        network.partition()
        for n in range(20):
            await push.send(b"%100d" % n)
        await trio.sleep(10)
        network.heal()
        assert [await pull.receive() for _ in range(20)] == [[b"%100d" % n] for n in range(20)]
        assert network.connections == connections


async def test_half_open_peers(autojump_clock: MockClock) -> None:
    """A peer that vanished is found out as soon as tcp does, and dialled again; the new connection works."""
    network = MemoryTransport()
    async with trimq.open_context(transports=[network], linger=0.0) as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind(PLACE)
        push.connect(PLACE)
        await push.wait_for_peers()
        [stream] = network.connections
        stream.other.vanish()
        await push.send(b"lost without a trace")  # tcp took it: beyond knowing (promise 6)
        start = trio.current_time()
        await trio.sleep(900)
        assert network.connections == ()
        assert len(push._remotes) == 1  # believes that it is connected
        await trio.sleep(100)
        await push.wait_for_peers()
        assert trio.current_time() - start == pytest.approx(1000)
        await push.send(b"found")
        assert await pull.receive() == [b"found"]


PAIRS: list[tuple[str, str]] = [
    ("Push", "Pull"), ("Pub", "Sub"), ("XPub", "XSub"), ("Pub", "XSub"), ("XPub", "Sub"), ("Pair", "Pair"),
    ("Dealer", "Dealer"), ("Dealer", "Router"), ("Req", "Rep"), ("Req", "Router"), ("Dealer", "Rep"),
    ("Router", "Router"),
]  # fmt: skip


@pytest.mark.parametrize("binds", ["sender", "receiver"])
@pytest.mark.parametrize(("sender", "receiver"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
async def test_torn_traffic(sender: str, receiver: str, binds: str, autojump_clock: MockClock) -> None:
    """Whatever the pieces, every pairing gets its messages whole, once and in order, and answers where it can."""
    messages = [[b"%d" % n, b"x" * size] for n, size in enumerate((0, 1, 254, 255, 256, 5000, 3))]
    for seed in range(4):
        network = MemoryTransport(torn=True, seed=seed, latency=0.01 * (seed % 2))
        async with trimq.open_context(transports=[network], linger=0.0) as ctx:
            with trio.fail_after(1000):
                out: Any = ctx.socket(getattr(trimq, sender))
                into: Any = ctx.socket(getattr(trimq, receiver))
                if receiver == "Router" and sender == "Router":
                    into.routing_id = b"there"
                if hasattr(into, "subscribe"):
                    into.subscribe(b"")
                first, second = (out, into) if binds == "sender" else (into, out)
                first.bind(PLACE)
                second.connect(PLACE)
                await out.wait_for_peers()
                if hasattr(out, "wait_for_subscribers"):
                    await out.wait_for_subscribers(1)
                for message in messages:
                    await send_and_receive(sender, receiver, out, into, message)


async def send_and_receive(sender: str, receiver: str, out: Any, into: Any, message: list[bytes]) -> None:
    """One message there, and one back where the pattern has it."""
    prefix = [b"there"] if sender == "Router" else [b""] if (sender, receiver) == ("Dealer", "Rep") else []
    await out.send([*prefix, *message])
    got = await into.receive()
    if receiver == "Router":
        envelope, got = got[: 2 if sender == "Req" else 1], got[2 if sender == "Req" else 1 :]
        assert got == message
        await into.send([*envelope, *message])
    elif receiver in ("Rep", "Pair", "Dealer"):
        assert got == message
        await into.send(message)
    else:
        assert got == message
        return
    answer = await out.receive()
    assert answer[-len(message) :] == message
