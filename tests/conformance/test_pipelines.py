"""libzmq's tests of queues and turns: test_spec_pushpull, test_sockopt_hwm, test_timeo, on both implementations."""

from __future__ import annotations

import pytest
import trio
from conformance.both import Side

streams = pytest.mark.parametrize("transport", ["inproc", "tcp"])


@streams
async def test_spec_pushpull(side: Side, transport: str) -> None:
    """Of ten messages each of five Pulls gets two, in order."""
    push, pulls = await side.socket("PUSH"), [await side.socket("PULL") for _ in range(5)]
    await side.join(transport, push, *pulls)
    for text in (b"ABC", b"DEF"):
        for number in range(5):
            await push.send(text + b"%d" % number)
    for number, pull in enumerate(pulls):
        assert [await pull.receive() for _ in range(2)] == [[b"ABC%d" % number], [b"DEF%d" % number]]


@streams
async def test_spec_pushpull_fair_queues(side: Side, transport: str) -> None:
    """Of two messages from each of five Pushes, the first five that are received are the first ones."""
    pull, pushes = await side.socket("PULL"), [await side.socket("PUSH") for _ in range(5)]
    await side.join(transport, pull, *pushes)
    for text in (b"ABC", b"DEF"):
        for number, push in enumerate(pushes):
            await push.send(text + b"%d" % number)
    await side.arrived(pull, 10)
    for text in (b"ABC", b"DEF"):
        heard = sorted([(await pull.receive())[0] for _ in pushes])
        assert heard == [text + b"%d" % number for number in range(5)]


@streams
async def test_spec_pushpull_without_peers(side: Side, transport: str) -> None:
    """With nobody there nothing can be sent, and nothing comes."""
    push, pull = await side.socket("PUSH"), await side.socket("PULL")
    await push.bind(side.place(transport))
    await pull.bind(side.place(transport))
    assert await side.refused(push, b"ABC") == "EAGAIN"
    await side.nothing(pull)


@streams
async def test_spec_pushpull_whole_messages(side: Side, transport: str) -> None:
    """With marks of 1 a long message passes; a Pull that comes again in the midst of others never gets a part of one."""
    push, pull = await side.socket("PUSH", send_hwm=1), await side.socket("PULL", receive_hwm=1)
    place = await side.join(transport, push, pull)
    last = bytes(1 << 18)
    for _ in range(2):
        await push.send([b"0", b"0a", last])
        assert await pull.receive() == [b"0", b"0a", last]
    for _ in range(50):  # until it is full, or nearly
        if await side.refused(push, [b"3", b"3a", last, b"3c"]):
            break
    await pull.disconnect(place)
    await pull.connect(place)
    found: list[list[bytes]] = []
    while [b"5", b"5a", b"5b"] not in found:  # what goes out before the loss is noticed is lost with the connection
        await push.send([b"5", b"5a", b"5b"])
        while message := await side.within(pull, 0.02):
            found.append(message)
    for message in found:
        assert message in ([b"3", b"3a", last, b"3c"], [b"5", b"5a", b"5b"])


async def test_sockopt_hwm(side: Side) -> None:
    """Over inproc the marks of both ends add up, those that are there when they are joined."""
    push, pull = await side.socket("PUSH", send_hwm=2), await side.socket("PULL", receive_hwm=2)
    place = side.place("inproc")
    await push.connect(place)
    await pull.bind(place)
    assert await side.fill(push, 100) == 4


async def test_sockopt_hwm_raised(side: Side) -> None:
    """A mark that is raised counts at once."""
    pull, push = await side.socket("PULL", receive_hwm=1), await side.socket("PUSH", send_hwm=1)
    await side.join("inproc", pull, push)
    await push.set("send_hwm", 5)
    assert await side.fill(push, 100) == 6


async def test_sockopt_hwm_lowered(side: Side) -> None:
    """A mark that is lowered drops nothing; the next ones find as much room as it says."""
    pull, push = await side.socket("PULL", receive_hwm=1), await side.socket("PUSH", send_hwm=100)
    await side.join("inproc", pull, push)
    sent = await side.fill(push, 1000)
    assert sent == 101
    await push.set("send_hwm", 70)
    assert await push.get("send_hwm") == 70
    assert [await pull.receive() for _ in range(sent)] == [[b"%d" % number] for number in range(sent)]
    again = await side.fill(push, 1000)
    assert 7 < again <= 71
    assert [await pull.receive() for _ in range(again)] == [[b"%d" % number] for number in range(again)]


async def test_timeo(side: Side) -> None:
    """Where nothing comes a receive ends when it was told to, not before; when something comes it has it."""
    dealer = await side.socket("DEALER")
    place = await side.join("inproc", dealer)
    assert await side.within(dealer, 0) is None
    began = trio.current_time()
    assert await side.within(dealer, 0.1) is None
    assert trio.current_time() - began > 0.09
    other = await side.socket("DEALER")
    await other.connect(place)
    await other.send(b"here")
    assert await side.within(dealer, 10) == [b"here"]
