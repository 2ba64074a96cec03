"""libzmq's tests of request-reply: test_req_*, test_reqrep_*, test_spec_req and test_spec_rep, on both implementations."""

from __future__ import annotations

import pytest
from conformance.both import Side
from conformance.sides import bounce

streams = pytest.mark.parametrize("transport", ["inproc", "tcp"])


async def test_req_correlate(side: Side) -> None:
    """A request carries a number of four bytes; a reply with another one is not heard, one with this is."""
    router, req = await side.socket("ROUTER"), await side.socket("REQ", correlate=True)
    await side.join("tcp", router, req)
    await req.send([b"ABC", b"DEF"])
    asker, number, *rest = await router.receive()
    assert len(number) == 4
    assert rest == [b"", b"ABC", b"DEF"]
    wrong = bytes([number[0] ^ 1]) + number[1:]
    await router.send([asker, wrong, b"", b"DATA"])
    await router.send([asker, number, b"", b"GHI"])
    assert await req.receive() == [b"GHI"]


async def test_req_relaxed(side: Side) -> None:
    """Requests may follow each other: each goes to the next Rep, only the last one's reply is heard, none is lost for it."""
    req = await side.socket("REQ", relaxed=True, correlate=True)
    reps = [await side.socket("REP") for _ in range(5)]
    await side.join("tcp", req, *reps)
    await req.send([b"A", b"B"])
    assert await reps[0].receive() == [b"A", b"B"]
    await req.send([b"C", b"D"])
    await reps[0].send([b"late", b"reply"])
    assert await reps[1].receive() == [b"C", b"D"]
    await reps[1].send([b"for", b"C"])
    assert await req.receive() == [b"for", b"C"]
    # a reply that waits to be read is given up by the next request
    await req.send([b"E"])
    assert await reps[2].receive() == [b"E"]
    await reps[2].send([b"for E"])
    await side.nothing(reps[3])
    await req.send([b"F"])
    assert await reps[3].receive() == [b"F"]
    await reps[3].send([b"for F"])
    assert await req.receive() == [b"for F"]
    # and the turn goes on, over all of them
    for rep in (reps[4], reps[0], reps[1]):
        await req.send([b"G"])
        assert await rep.receive() == [b"G"]
        await rep.send([b"for G"])
        assert await req.receive() == [b"for G"]


async def test_req_relaxed_before_there_is_a_peer(side: Side) -> None:
    """Two requests to an endpoint where nobody is yet are both sent; the reply to the second is the one that is heard."""
    place = side.place("ipc")
    req = await side.socket("REQ", relaxed=True, correlate=True)
    await req.connect(place)
    await req.send([b"first"])
    await req.send([b"second"])
    router = await side.socket("ROUTER")
    await router.bind(place)
    for _ in range(2):
        await router.send(await router.receive())
    assert await req.receive() == [b"second"]


@pytest.mark.parametrize("transport", ["tcp", "ipc", "inproc"])
async def test_reqrep_device(side: Side, transport: str) -> None:
    """Through a device made by hand, Router to Dealer, four frames pass each way, and the ends see theirs."""
    router, dealer = await side.socket("ROUTER"), await side.socket("DEALER")
    req, rep = await side.socket("REQ"), await side.socket("REP")
    await side.join(transport, router, req)
    await side.join(transport, dealer, rep)
    await req.send([b"ABC", b"DEF"])
    request = await router.receive()
    assert len(request) == 4
    assert request[1:] == [b"", b"ABC", b"DEF"]
    await dealer.send(request)
    assert await rep.receive() == [b"ABC", b"DEF"]
    await rep.send([b"GHI", b"JKL"])
    reply = await dealer.receive()
    assert reply == [request[0], b"", b"GHI", b"JKL"]
    await router.send(reply)
    assert await req.receive() == [b"GHI", b"JKL"]


async def test_reqrep_inproc(side: Side) -> None:
    """There and back, two frames each."""
    rep, req = await side.socket("REP"), await side.socket("REQ")
    await side.join("inproc", rep, req)
    await bounce(rep, req)


async def test_reqrep_ipc(side: Side) -> None:
    """There and back."""
    rep, req = await side.socket("REP"), await side.socket("REQ")
    await side.join("ipc", rep, req)
    await bounce(rep, req)


async def test_reqrep_ipc_without_the_asker(side: Side) -> None:
    """The reply to a Req that has gone is sent without an error, and dropped; the next one is served."""
    rep, req = await side.socket("REP"), await side.socket("REQ")
    place = await side.join("ipc", rep, req)
    await req.send([b"ABC", b"DEF"])
    assert await rep.receive() == [b"ABC", b"DEF"]
    await req.close()
    await rep.left()
    await rep.send([b"nobody hears it"])
    other = await side.socket("REQ")
    await other.connect(place)
    await bounce(rep, other)


@pytest.mark.parametrize("transport", ["tcp", "tcp6"])
async def test_reqrep_tcp(side: Side, transport: str) -> None:
    """There and back over IPv4 and IPv6; then the endpoints can be ended, by the texts that they were made with."""
    rep, req = await side.socket("REP", ipv6=True), await side.socket("REQ", ipv6=True)
    place = await side.join(transport, rep, req)
    await bounce(rep, req)
    await req.disconnect(place)
    await rep.unbind(place)


@pytest.mark.parametrize("transport", ["tcp", "tcp6"])
async def test_reqrep_tcp_from_a_source_address(side: Side, transport: str) -> None:
    """Of three endpoints, one from an address and port of its own, each is asked in turn; ``source;destination`` ends it."""
    host = "[::1]" if transport == "tcp6" else "127.0.0.1"
    req = await side.socket("REQ", ipv6=True)
    reps, places = [await side.socket("REP", ipv6=True) for _ in range(3)], []
    for number, rep in enumerate(reps):
        place = side.place(transport)
        place = await rep.bind(place)
        places.append(f"tcp://{host}:0;{place.removeprefix('tcp://')}" if number == 2 else place)
        await req.connect(places[-1])
        await rep.peers(1)
    for rep in (*reps, *reps):
        await bounce(rep, req)
    await req.disconnect(places[2])
    for rep in (*reps[:2], *reps[:2]):
        await bounce(rep, req)


@streams
async def test_spec_req(side: Side, transport: str) -> None:
    """Bound to five Reps, it asks each in turn, in the order in which they connected."""
    req, reps = await side.socket("REQ"), [await side.socket("REP") for _ in range(5)]
    await side.join(transport, req, *reps)
    for rep in (*reps, *reps):
        await bounce(rep, req)


@streams
async def test_spec_req_envelope(side: Side, transport: str) -> None:
    """What is sent is an empty frame and the body; a reply comes by the asker's id and the empty frame."""
    req, router = await side.socket("REQ"), await side.socket("ROUTER")
    await side.join(transport, router, req)
    await req.send([b"ABC", b"DEF"])
    asker, *rest = await router.receive()
    assert rest == [b"", b"ABC", b"DEF"]
    await router.send([asker, b"", b"GHI"])
    assert await req.receive() == [b"GHI"]


@streams
async def test_spec_req_without_peers(side: Side, transport: str) -> None:
    """With nobody there a request cannot be sent."""
    req = await side.socket("REQ")
    await req.bind(side.place(transport))
    assert await side.refused(req, b"ABC") == "EAGAIN"


@streams
async def test_spec_rep(side: Side, transport: str) -> None:
    """Five Reqs that have asked are answered in turn, each with its own reply."""
    rep, reqs = await side.socket("REP"), [await side.socket("REQ") for _ in range(5)]
    await side.join(transport, rep, *reqs)
    for number, req in enumerate(reqs):
        await req.send(b"%d" % number)
    heard = []
    for _ in reqs:
        [body] = await rep.receive()
        heard.append(body)
        await rep.send(b"for " + body)
    assert sorted(heard) == [b"0", b"1", b"2", b"3", b"4"]
    for number, req in enumerate(reqs):
        assert await req.receive() == [b"for %d" % number]


@streams
async def test_spec_rep_envelope(side: Side, transport: str) -> None:
    """The frames up to the first empty one are kept, and put before the reply again."""
    rep, dealer = await side.socket("REP"), await side.socket("DEALER")
    await side.join(transport, rep, dealer)
    for envelope in ([b""], [b"X", b"Y", b""]):
        await dealer.send([*envelope, b"A"])
        assert await rep.receive() == [b"A"]
        await rep.send([b"A"])
        assert await dealer.receive() == [*envelope, b"A"]
