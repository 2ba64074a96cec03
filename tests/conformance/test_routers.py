"""libzmq's tests of Router and Dealer, test_router_* and test_spec_dealer and _router, on both implementations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from conformance.both import Side

streams = pytest.mark.parametrize("transport", ["inproc", "tcp"])


async def test_router_handover(side: Side) -> None:
    """With handover the second Dealer of one id has it from then on."""
    router = await side.socket("ROUTER", handover=True)
    first, second = [await side.socket("DEALER", routing_id=b"X", reconnect_interval=math.inf) for _ in range(2)]
    place = await side.join("tcp", router, first)
    await first.send(b"hello")
    assert await router.receive() == [b"X", b"hello"]
    await second.connect(place)
    await second.send(b"hello again")
    assert await router.receive() == [b"X", b"hello again"]
    await router.send([b"X", b"hi"])
    assert await second.receive() == [b"hi"]
    await side.nothing(first)


async def test_router_handover_off(side: Side) -> None:
    """Without, the first keeps it: what the second sends is never heard, and nothing goes to it."""
    router = await side.socket("ROUTER")
    first, second = [await side.socket("DEALER", routing_id=b"X") for _ in range(2)]
    place = await side.join("tcp", router, first)
    await second.connect(place)
    await second.send(b"hello")
    await side.nothing(router)
    await router.send([b"X", b"hi"])
    assert await first.receive() == [b"hi"]
    await side.nothing(second)


async def test_router_mandatory(side: Side) -> None:
    """A message for nobody vanishes; with the option it is refused, and one for somebody is not."""
    router, dealer = await side.socket("ROUTER"), await side.socket("DEALER", routing_id=b"X")
    await side.join("tcp", router, dealer)
    await router.send([b"UNKNOWN", b"DATA"])
    await router.set("mandatory", True)
    assert await side.refused(router, [b"UNKNOWN", b"DATA"]) == "EHOSTUNREACH"
    await dealer.send(b"hello")
    assert await router.receive() == [b"X", b"hello"]
    assert not await side.refused(router, [b"X", b"hi"])
    assert await dealer.receive() == [b"hi"]


async def test_router_mandatory_and_the_full(side: Side) -> None:
    """A Dealer that does not read becomes full, and is said to be; one that does gets all, meanwhile."""
    router = await side.socket("ROUTER", mandatory=True, send_hwm=100)
    full = await side.socket("DEALER", routing_id=b"Y", receive_hwm=100)
    quick = await side.socket("DEALER", routing_id=b"X", receive_hwm=100)
    await side.join("inproc", router, full, quick)
    for name in (b"X", b"Y"):
        await (quick if name == b"X" else full).send(b"here")
        assert await router.receive() == [name, b"here"]
    for number in range(250):
        if number < 200:
            assert not await side.refused(router, [b"Y", b"%d" % number])
        else:
            assert await side.refused(router, [b"Y", b"too many"]) == "EAGAIN"
        await router.send([b"X", b"%d" % number])
        assert await quick.receive() == [b"%d" % number]
    assert [await full.receive() for _ in range(200)] == [[b"%d" % number] for number in range(200)]


async def test_router_mandatory_hwm(side: Side) -> None:
    """With marks of 1, large messages for a Dealer that does not read are refused after a few, with EAGAIN."""
    # the system's buffers count, too, and are as large as it likes unless told
    router = await side.socket("ROUTER", mandatory=True, send_hwm=1, send_buffer=65536)
    dealer = await side.socket("DEALER", routing_id=b"X", receive_hwm=1, receive_buffer=65536)
    await side.join("tcp", router, dealer)
    sent = refused = 0
    while refused < 3:  # it stays so
        failure = await side.refused(router, [b"X", b"%d" % sent, bytes(65536)])
        if not failure:
            sent, refused = sent + 1, 0
            assert sent < 20
        else:
            assert failure == "EAGAIN"
            refused += 1
            await side.nothing(router)
    assert sent >= 2
    for number in range(sent):
        assert (await dealer.receive())[0] == b"%d" % number
    await router.send([b"X", b"room again"])
    assert await dealer.receive() == [b"room again"]


@streams
async def test_spec_dealer(side: Side, transport: str) -> None:
    """Five Reps get one message each, in the order in which they connected."""
    dealer, reps = await side.socket("DEALER"), [await side.socket("REP") for _ in range(5)]
    await side.join(transport, dealer, *reps)
    for turn in (b"1", b"2"):
        for _ in reps:
            await dealer.send([b"", turn])
        for rep in reps:
            assert await rep.receive() == [turn]
            await rep.send(turn)
        for _ in reps:
            assert await dealer.receive() == [b"", turn]


@streams
async def test_spec_dealer_fair_queues(side: Side, transport: str) -> None:
    """Of five Dealers that have all sent twice, each is heard once before one is heard again."""
    dealer, others = await side.socket("DEALER"), [await side.socket("DEALER") for _ in range(5)]
    await side.join(transport, dealer, *others)
    await heard_in_turn(side, dealer, others)


@streams
async def test_spec_dealer_without_peers(side: Side, transport: str) -> None:
    """With nobody there nothing can be sent, and nothing comes."""
    dealer = await side.socket("DEALER")
    await dealer.bind(side.place(transport))
    assert await side.refused(dealer, b"ABC") == "EAGAIN"
    await side.nothing(dealer)


@streams
async def test_spec_router(side: Side, transport: str) -> None:
    """Of five Dealers that have all sent, each is heard, with its id before the message."""
    router = await side.socket("ROUTER")
    dealers = [await side.socket("DEALER", routing_id=b"%c" % name) for name in b"ABCDE"]
    await side.join(transport, router, *dealers)
    ids = await heard_in_turn(side, router, dealers)
    assert sorted(ids) == [b"A", b"B", b"C", b"D", b"E"]
    await router.send([b"C", b"back"])
    assert await dealers[2].receive() == [b"back"]


async def heard_in_turn(side: Side, hub: Any, others: Sequence[Any]) -> list[bytes]:
    """All send twice, and the hub hears the first of each before the second of anybody; the first frames of those."""
    for turn in (b"1", b"2"):
        for number, other in enumerate(others):
            await other.send(turn + b"%d" % number)
    await side.arrived(hub, 2 * len(others))
    heard: list[list[bytes]] = []
    for turn in (b"1", b"2"):
        heard = [await hub.receive() for _ in others]
        assert sorted(message[-1] for message in heard) == [turn + b"%d" % number for number in range(len(others))]
    return [message[0] for message in heard]
