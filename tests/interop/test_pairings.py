"""Each socket type with each type that RFC 37's table lets it talk to: trimq as the one and libzmq as the other, and the
other way round; trimq as binder and as connector; over tcp and ipc.

A conversation is written once, between two sockets with the same verbs. Payloads are distinct, and content and order
are checked; both ways where the pattern has both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest
import trio
from interop.harness import KINDS, Peer, PeerSocket, join, running, until_quiet

import trimq

pytestmark = pytest.mark.pyzmq

Conversation: TypeAlias = "Callable[[Any, Any], Awaitable[None]]"

IDS = {"routing_id": b"first"}, {"routing_id": b"second"}


def talk(who: str) -> Iterator[list[bytes]]:
    """What somebody says: no two messages are alike, and their shapes differ."""
    text = who.encode()
    yield [text + b" 0"]
    yield [text + b" 1", b"", text + b" 1 end"]
    yield [text + b" 2", b""]
    yield [b"", text + b" 3"]
    yield [text + b" 4" + bytes(300)]
    yield [text + b" 5"]


async def request_reply(req: Any, rep: Any) -> None:
    """REQ and REP: the user sees bodies only, turn by turn (RFC 28)."""
    for request, reply in zip(talk("request"), talk("reply"), strict=True):
        await req.send(request)
        assert await rep.receive() == request
        await rep.send(reply)
        assert await req.receive() == reply


async def request_router(req: Any, router: Any) -> None:
    """REQ and ROUTER: the ROUTER sees the id that the REQ announced, and the empty frame."""
    for request, reply in zip(talk("request"), talk("reply"), strict=True):
        await req.send(request)
        assert await router.receive() == [b"first", b"", *request]
        await router.send([b"first", b"", *reply])
        assert await req.receive() == reply


async def dealer_reply(dealer: Any, rep: Any) -> None:
    """DEALER and REP: all up to the first empty frame comes back with the reply."""
    for request in talk("request"):
        await dealer.send([b"hop 1", b"hop 2", b"", *request])
    for request, reply in zip(talk("request"), talk("reply"), strict=True):
        assert await rep.receive() == request
        await rep.send(reply)
        assert await dealer.receive() == [b"hop 1", b"hop 2", b"", *reply]


async def both_ways(one: Any, other: Any) -> None:
    """DEALER and DEALER, PAIR and PAIR: messages pass as they are."""
    for there, back in zip(talk("there"), talk("back"), strict=True):
        await one.send(there)
        await other.send(back)
    for there, back in zip(talk("there"), talk("back"), strict=True):
        assert await other.receive() == there
        assert await one.receive() == back


async def dealer_router(dealer: Any, router: Any) -> None:
    """DEALER and ROUTER: the announced id is put before what came, and takes what goes (ZMQ_ROUTER)."""
    for request in talk("request"):
        await dealer.send(request)
    for request in talk("request"):
        assert await router.receive() == [b"first", *request]
    for reply in talk("reply"):
        await router.send([b"first", *reply])
    for reply in talk("reply"):
        assert await dealer.receive() == reply


async def router_router(one: Any, other: Any) -> None:
    """ROUTER and ROUTER: each addresses the other by the id it announced; whoever knows its peer begins."""
    ids = {one: b"first", other: b"second"}
    speaker, listener = (one, other) if isinstance(one, trimq.Router) else (other, one)
    await speaker.wait_for_peers()
    for from_, to in ((speaker, listener), (listener, speaker)):
        for message in talk("from " + ids[from_].decode()):
            await from_.send([ids[to], *message])
        for message in talk("from " + ids[from_].decode()):
            assert await to.receive() == [ids[from_], *message]


async def publish_subscribe(pub: Any, sub: Any) -> None:
    """PUB or XPUB, and SUB or XSUB: what was subscribed to, by prefix, and an XPUB sees it (RFC 29)."""
    pub_sees = isinstance(pub, trimq.XPub) or (isinstance(pub, PeerSocket) and pub.kind == "XPUB")
    for topic in (b"news", b"sport"):
        await subscribe(sub, topic)
    if isinstance(pub, trimq.Pub | trimq.XPub):
        await pub.wait_for_subscribers(1, b"news")
        await pub.wait_for_subscribers(1, b"sport")
    if pub_sees:
        assert [await pub.receive(), await pub.receive()] == [[b"\1news"], [b"\1sport"]]
    elif isinstance(pub, PeerSocket):
        await until_quiet(sub, lambda rest: pub.send([b"news", *rest]))  # a libzmq PUB tells nobody
        await until_quiet(sub, lambda rest: pub.send([b"sport", *rest]))
    for message in talk("published"):
        for topic in (b"newspaper", b"weather", b"sport", b"spor"):
            await pub.send([topic, *message])
    for message in talk("published"):
        assert await sub.receive() == [b"newspaper", *message]
        assert await sub.receive() == [b"sport", *message]
    if pub_sees:
        await unsubscribe(sub, b"sport")
        assert await pub.receive() == [b"\0sport"]
        await pub.send([b"sport", b"nobody's"])
        await pub.send([b"news", b"last"])
        assert await sub.receive() == [b"news", b"last"]
        if isinstance(sub, trimq.XSub) or (isinstance(sub, PeerSocket) and sub.kind == "XSUB"):
            for message in talk("upstream"):
                if message[0]:  # an XSUB's messages are its own business, but for those that look like subscriptions
                    await sub.send(message)
                    assert await pub.receive() == message


async def subscribe(sub: Any, topic: bytes) -> None:
    """A trimq socket's subscribe is no coroutine, a peer's is."""
    if isinstance(sub, PeerSocket):
        await sub.subscribe(topic)
    else:
        sub.subscribe(topic)


async def unsubscribe(sub: Any, topic: bytes) -> None:
    if isinstance(sub, PeerSocket):
        await sub.unsubscribe(topic)
    else:
        sub.unsubscribe(topic)


async def push_pull(push: Any, pull: Any) -> None:
    """PUSH and PULL: one way, in order (RFC 30)."""
    for message in talk("work"):
        await push.send(message)
    for message in talk("work"):
        assert await pull.receive() == message


NONE: dict[str, bytes] = {}
# trimq's type, libzmq's type: what they say, with the first role first; the first's and the second's options
PAIRINGS: dict[tuple[str, str], tuple[Conversation, dict[str, bytes], dict[str, bytes]]] = {
    ("REQ", "REP"): (request_reply, NONE, NONE),
    ("REQ", "ROUTER"): (request_router, *IDS),
    ("DEALER", "REP"): (dealer_reply, NONE, NONE),
    ("DEALER", "DEALER"): (both_ways, NONE, NONE),
    ("DEALER", "ROUTER"): (dealer_router, *IDS),
    ("ROUTER", "ROUTER"): (router_router, *IDS),
    ("PUB", "SUB"): (publish_subscribe, NONE, NONE),
    ("PUB", "XSUB"): (publish_subscribe, NONE, NONE),
    ("XPUB", "SUB"): (publish_subscribe, NONE, NONE),
    ("XPUB", "XSUB"): (publish_subscribe, NONE, NONE),
    ("PUSH", "PULL"): (push_pull, NONE, NONE),
    ("PAIR", "PAIR"): (both_ways, NONE, NONE),
}


# Each pairing with trimq as the first and as the second, where that is not the same.
ROLES = [(pairing, first) for pairing in PAIRINGS for first in (True, False) if first or len(set(pairing)) == 2]
NAMES = ["-".join(pairing if first else pairing[::-1]) for pairing, first in ROLES]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize(("pairing", "trimq_first"), ROLES, ids=NAMES)
async def test_pairing(
    pairing: tuple[str, str],
    trimq_first: bool,
    trimq_binds: bool,
    transport: str,
    peer: Peer,
    fresh: Callable[[str], str],
) -> None:
    """Messages go as the pattern says, whoever is which, whoever binds (RFC 37's table; promise 7)."""
    conversation, *both = PAIRINGS[pairing]
    kind, its_kind = pairing if trimq_first else pairing[::-1]
    options, its_options = both if trimq_first else both[::-1]
    async with running(10) as ctx:
        mine: Any = ctx.socket(KINDS[kind], **options)
        theirs = await peer.socket(its_kind, **{name.upper(): value for name, value in its_options.items()})
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        await conversation(*((mine, theirs) if trimq_first else (theirs, mine)))
        [info] = mine.peers
        assert info.socket_type == its_kind


async def test_all_of_rfc_37s_table() -> None:
    """The pairings above are the table, no more and no fewer; STREAM has no handshake, and is below."""
    tested = {pair for pairing in PAIRINGS for pair in (pairing, pairing[::-1])}
    assert tested == {(kind, other) for kind, cls in KINDS.items() for other in cls._accepts}
    assert set(KINDS) == {kind for pairing in tested for kind in pairing} | {"STREAM"}


async def read_all(end: Any, routing_id: bytes, size: int) -> bytes:
    """So many bytes from one peer of a STREAM, however they are cut."""
    data = b""
    while len(data) < size:
        sender, piece = await end.receive()
        assert sender == routing_id
        assert piece
        data += piece
    return data


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
async def test_stream_with_stream(trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """STREAM and STREAM: a notice on connection, bytes both ways, the id and an empty frame close (ZMQ_STREAM)."""
    async with running(10) as ctx:
        mine = ctx.socket(trimq.Stream)
        theirs = await peer.socket("STREAM")
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        ids = {}
        for end in (mine, theirs):
            ids[end], notice = await end.receive()
            assert notice == b""
            assert len(ids[end]) == 5
            assert ids[end][0] == 0
        for end, other in ((mine, theirs), (theirs, mine)):
            text = b"".join(b"".join(message) for message in talk("stream")) * 100
            await end.send([ids[end], text])
            assert await read_all(other, ids[other], len(text)) == text
        closer, other = (mine, theirs) if trimq_binds else (theirs, mine)
        await closer.send([ids[closer], b"the end"])
        await closer.send([ids[closer], b""])
        assert await read_all(other, ids[other], 7) == b"the end"
        assert await other.receive() == [ids[other], b""]


def raw_listener(endpoint: str) -> trio.SocketListener:
    """A plain listener, and nothing of ZeroMQ."""
    sock = trio.socket.socket(trio.socket.AF_INET if endpoint.startswith("tcp") else trio.socket.AF_UNIX)
    sock._sock.bind(("127.0.0.1", 0) if endpoint.startswith("tcp") else endpoint.removeprefix("ipc://"))
    sock.listen()
    return trio.SocketListener(sock)


async def open_raw(endpoint: str) -> trio.SocketStream:
    """A plain connection, and nothing of ZeroMQ."""
    if endpoint.startswith("ipc"):
        return await trio.open_unix_socket(endpoint.removeprefix("ipc://"))
    host, port = endpoint.removeprefix("tcp://").split(":")
    return await trio.open_tcp_stream(host, int(port))


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize("side", ["trimq", "libzmq"])
async def test_stream_with_a_raw_peer(
    side: str, trimq_binds: bool, transport: str, peer: Peer, fresh: Callable[[str], str]
) -> None:
    """STREAM and a program that knows nothing of ZeroMQ; libzmq's STREAM is held to the same, as the oracle."""
    async with running(10) as ctx:
        end: Any = ctx.socket(trimq.Stream) if side == "trimq" else await peer.socket("STREAM")
        if trimq_binds:
            endpoint = end.bind(fresh(transport))
            raw = await open_raw(str(endpoint if side == "trimq" else await endpoint))
        else:
            async with raw_listener(fresh(transport)) as listener:
                name = listener.socket.getsockname()
                connecting = end.connect(f"ipc://{name}" if transport == "ipc" else f"tcp://127.0.0.1:{name[1]}")
                if side == "libzmq":
                    await connecting
                raw = await listener.accept()
        async with raw:
            routing_id, notice = await end.receive()
            assert notice == b""
            await raw.send_all(b"GET / HTTP/1.0\r\n\r\n")
            assert await read_all(end, routing_id, 18) == b"GET / HTTP/1.0\r\n\r\n"
            await end.send([routing_id, b"HTTP/1.0 200 OK\r\n\r\n"])
            await end.send([routing_id, bytes(100_000)])
            await end.send([routing_id, b""])
            data = b""
            async for piece in raw:
                data += piece
            assert data == b"HTTP/1.0 200 OK\r\n\r\n" + bytes(100_000)


@pytest.mark.parametrize("side", ["trimq", "libzmq"])
async def test_a_raw_peer_that_goes_is_told(side: str, peer: Peer, fresh: Callable[[str], str]) -> None:
    """What came before the end is received before the notice of the end (ZMQ_STREAM_NOTIFY)."""
    async with running(10) as ctx:
        end: Any = ctx.socket(trimq.Stream) if side == "trimq" else await peer.socket("STREAM")
        endpoint = end.bind(fresh("tcp"))
        async with await open_raw(str(endpoint if side == "trimq" else await endpoint)) as raw:
            await raw.send_all(b"goodbye")
        routing_id, notice = await end.receive()
        assert notice == b""
        assert await read_all(end, routing_id, 7) == b"goodbye"
        assert await end.receive() == [routing_id, b""]
