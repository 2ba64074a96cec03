"""zmq_connect(3), sentence by sentence (0MQ 4.3.4). docs/reference/zmq_connect.rst is the table of these tests.

Each test quotes the sentence that it holds. Real sockets, the real clock, and waits for levels only.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import trimq
from trimq import EndpointState
from trimq._errors import EMTHREAD, ENOCOMPATPROTO, ETERM
from trimq._sockets import ALL_TYPES
from trimq._util import until
from trimq.wire import Connection, Null

TCP = "tcp://127.0.0.1:*"
NOT_BUILT = "known but not built into this version of trimq yet"
HERE = "epgm, inproc, ipc, pgm, tcp, tipc, udp, vmci and vsock"

TYPES = [kind for kind in ALL_TYPES if kind is not trimq.Dgram]  # which cannot connect
kinds = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)


@asynccontextmanager
async def opened(**defaults: Any) -> AsyncIterator[trimq.Context]:
    """A context that lets nothing linger, tries again quickly, and fails rather than hang."""
    with trio.fail_after(20):
        async with trimq.open_context(**{"linger": 0, "reconnect_interval": 0.01, **defaults}) as ctx:
            yield ctx


async def reaches(endpoint: trimq.Endpoint, *states: EndpointState) -> None:
    await until(lambda: endpoint.state in states, endpoint._bell, pace=endpoint._pace)


def free(ctx: trimq.Context) -> str:
    """A tcp endpoint on which nobody listens."""
    endpoint = ctx.socket(trimq.Pull).bind(TCP)
    endpoint.close()
    return str(endpoint)


@contextmanager
def plain_listener() -> Iterator[tuple[str, trio.SocketListener]]:
    """A TCP listener that is no ZeroMQ at all: its endpoint, and itself."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        endpoint = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        yield endpoint, trio.SocketListener(trio.socket.from_stdlib_socket(listening))


class Places:
    """Endpoints on which nobody is bound yet, of each transport."""

    def __init__(self, ctx: trimq.Context, folder: Path) -> None:
        self._ctx = ctx
        self._folder = folder
        self._made = 0

    def new(self, scheme: str) -> str:
        self._made += 1
        if scheme == "tcp":
            return free(self._ctx)
        return f"ipc://{self._folder}/{self._made}" if scheme == "ipc" else f"inproc://{self._made}"


# Traffic between one socket of a type and some others, whoever is bound and whoever is connected


async def _push(one: Any, many: list[Any]) -> None:
    for n in range(len(many)):
        await one.send(b"%d" % n)
    assert sorted([(await pull.receive())[0] for pull in many]) == [b"%d" % n for n in range(len(many))]


async def _pull(one: Any, many: list[Any]) -> None:
    for n, push in enumerate(many):
        await push.send(b"%d" % n)
    assert sorted([(await one.receive())[0] for _ in many]) == [b"%d" % n for n in range(len(many))]


async def _publish(one: Any, many: list[Any]) -> None:
    for subscriber in many:
        subscriber.subscribe(b"")
    await one.wait_for_subscribers(len(many))
    await one.send(b"news")
    assert [await subscriber.receive() for subscriber in many] == [[b"news"]] * len(many)


async def _subscribe(one: Any, many: list[Any]) -> None:
    one.subscribe(b"")
    for publisher in many:
        await publisher.wait_for_subscribers(1)
    await _pull(one, many)


async def _ask(one: Any, many: list[Any]) -> None:
    async def answer(rep: Any, name: bytes) -> None:
        assert await rep.receive() == [b"who?"]
        await rep.send(name)

    answers: set[bytes] = set()
    async with trio.open_nursery() as nursery:
        for n, rep in enumerate(many):
            nursery.start_soon(answer, rep, b"%d" % n)
        for _ in many:
            await one.send(b"who?")
            answers.update(await one.receive())
    assert answers == {b"%d" % n for n in range(len(many))}


async def _answer(one: Any, many: list[Any]) -> None:
    for n, req in enumerate(many):
        await req.send(b"%d" % n)
    for _ in many:
        [question] = await one.receive()
        await one.send(question * 2)
    assert [await req.receive() for req in many] == [[b"%d%d" % (n, n)] for n in range(len(many))]


async def _deal(one: Any, many: list[Any]) -> None:
    await _push(one, many)
    await _pull(one, many)


async def _route(one: Any, many: list[Any]) -> None:
    for n, dealer in enumerate(many):
        await dealer.send(b"%d" % n)
    for _ in many:
        routing_id, body = await one.receive()
        await one.send([routing_id, body * 2])
    assert [await dealer.receive() for dealer in many] == [[b"%d%d" % (n, n)] for n in range(len(many))]


async def _stream(one: Any, many: list[Any]) -> None:
    for n, stream in enumerate(many):
        routing_id, notice = await stream.receive()  # who is there
        assert notice == b""
        await stream.send([routing_id, b"%d" % n])
    heard: dict[bytes, bytes] = {}
    while sorted(heard.values()) != [b"%d" % n for n in range(len(many))]:
        routing_id, piece = await one.receive()
        heard[routing_id] = heard.get(routing_id, b"") + piece
    for routing_id, piece in heard.items():
        await one.send([routing_id, piece * 2])
    for n, stream in enumerate(many):
        said = b""
        while said != b"%d%d" % (n, n):
            said += (await stream.receive())[1]


async def _by_number(socket: Any, body: bytes) -> None:
    """Sends to each peer, by its number where the socket has one for it."""
    if not isinstance(socket, (trimq.Server, trimq.Peer)):
        await socket.send(body)
        return
    for number in list(socket._by_id.remotes):
        await socket.send(trimq.RoutedMessage(number, body))


def _said(message: Any) -> bytes:
    return b"".join(message) if isinstance(message, list) else bytes(message.body)


async def _client(one: Any, many: list[Any]) -> None:
    for _ in many:
        await one.send(b"who?")
    for n, server in enumerate(many):
        assert (await server.receive()).body == b"who?"
        await _by_number(server, b"%d" % n)
    assert sorted([(await one.receive())[0] for _ in many]) == [b"%d" % n for n in range(len(many))]


async def _server(one: Any, many: list[Any]) -> None:
    for n, client in enumerate(many):
        await _by_number(client, b"%d" % n)
    for _ in many:
        question = await one.receive()
        await one.send(trimq.RoutedMessage(question.routing_id, question.body * 2))
    assert [_said(await client.receive()) for client in many] == [b"%d%d" % (n, n) for n in range(len(many))]


async def _radiate(one: Any, many: list[Any]) -> None:
    for dish in many:
        dish.join(b"group")
    await one.wait_for_members(len(many))
    await one.send(trimq.GroupMessage(b"group", b"news"))
    assert [_said(await dish.receive()) for dish in many] == [b"news"] * len(many)


async def _hear(one: Any, many: list[Any]) -> None:
    one.join(b"group")
    for n, radio in enumerate(many):
        await radio.wait_for_members(1)
        await radio.send(trimq.GroupMessage(b"group", b"%d" % n))
    assert sorted([_said(await one.receive()) for _ in many]) == [b"%d" % n for n in range(len(many))]


Traffic = Callable[[Any, list[Any]], Awaitable[None]]
PATTERNS: dict[type[trimq.Socket], tuple[type[trimq.Socket], Traffic]] = {
    trimq.Req: (trimq.Rep, _ask),
    trimq.Rep: (trimq.Req, _answer),
    trimq.Dealer: (trimq.Dealer, _deal),
    trimq.Router: (trimq.Dealer, _route),
    trimq.Pub: (trimq.Sub, _publish),
    trimq.Sub: (trimq.Pub, _subscribe),
    trimq.XPub: (trimq.XSub, _publish),
    trimq.XSub: (trimq.XPub, _subscribe),
    trimq.Push: (trimq.Pull, _push),
    trimq.Pull: (trimq.Push, _pull),
    trimq.Pair: (trimq.Pair, _deal),
    trimq.Stream: (trimq.Stream, _stream),
    trimq.Client: (trimq.Server, _client),
    trimq.Server: (trimq.Client, _server),
    trimq.Scatter: (trimq.Gather, _push),
    trimq.Gather: (trimq.Scatter, _pull),
    trimq.Channel: (trimq.Channel, _deal),
    trimq.Peer: (trimq.Peer, _server),
    trimq.Radio: (trimq.Dish, _radiate),
    trimq.Dish: (trimq.Radio, _hear),
}


def on_transports(*schemes: str, without: tuple[type[trimq.Socket], ...] = ()) -> pytest.MarkDecorator:
    """Each type on each of these transports; Stream is raw, and inproc has no bytes."""
    return pytest.mark.parametrize(
        ("kind", "scheme"),
        [
            pytest.param(kind, scheme, id=f"{kind.__name__}-{scheme}")
            for kind in TYPES
            for scheme in schemes
            if kind not in without and (kind, scheme) != (trimq.Stream, "inproc")
        ],
    )


# NAME, SYNOPSIS


async def test_creates_an_outgoing_connection() -> None:
    """'zmq_connect - create outgoing connection from socket'."""
    with plain_listener() as (endpoint, listener):
        async with opened() as ctx:
            ctx.socket(trimq.Push).connect(endpoint)
            async with await listener.accept() as stream:
                assert (await stream.receive_some(1)) == b"\xff"  # RFC 23: the greeting's signature


async def test_takes_a_socket_and_an_endpoint() -> None:
    """'int zmq_connect (void *socket, const char *endpoint);': a method, text in, and the endpoint out."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        endpoint = push.connect("tcp://127.0.0.1:5555")
        assert isinstance(endpoint, trimq.Endpoint)
        assert str(endpoint) == "tcp://127.0.0.1:5555"
        assert not endpoint.bound
        assert push.endpoints == (endpoint,)
        with pytest.raises(TypeError, match="an endpoint is a str such as 'tcp://"):
            push.connect(b"tcp://127.0.0.1:5555")  # type: ignore[arg-type]


# DESCRIPTION


async def test_connects_then_messages_come_in_and_go_out() -> None:
    """'connects the socket to an endpoint and then accepts incoming connections on that endpoint': the first half.

    Of the second half, what is so: what comes in on the connection is received.
    """
    async with opened() as ctx:
        there, here = ctx.socket(trimq.Dealer), ctx.socket(trimq.Dealer)
        here.connect(there.bind(TCP))
        await here.send(b"out")
        assert await there.receive() == [b"out"]
        await there.send(b"in")
        assert await here.receive() == [b"in"]


async def test_connecting_listens_nowhere() -> None:
    """'... and then accepts incoming connections on that endpoint': not so, in libzmq neither. Accepting is bind's."""
    with plain_listener() as (endpoint, listener):
        async with opened() as ctx:
            ctx.socket(trimq.Dealer).connect(endpoint)
            async with await listener.accept() as stream:
                host, port = stream.socket.getpeername()
                with pytest.raises(OSError, match="connect"):
                    await trio.open_tcp_stream(host, port)


async def test_an_endpoint_is_a_transport_and_an_address() -> None:
    """'The endpoint is a string consisting of a transport:// followed by an address.'."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        for right in ("tcp://127.0.0.1:5555", "ipc:///tmp/trimq-nobody", "inproc://nobody"):
            assert str(push.connect(right)) == right
        for wrong in ("127.0.0.1:5555", "tcp:127.0.0.1:5555", "://127.0.0.1:5555", "tcp://"):
            with pytest.raises(trimq.InvalidEndpoint, match="write SCHEME://ADDRESS"):
                push.connect(wrong)


async def test_the_transport_is_the_protocol(tmp_path: Path) -> None:
    """'The transport specifies the underlying protocol to use.': one address, two protocols, two places."""
    address = f"{tmp_path}/name"
    async with opened() as ctx:
        for scheme in ("ipc", "inproc"):
            pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
            pull.bind(f"{scheme}://{address}")
            push.connect(f"{scheme}://{address}")
            await push.send(scheme.encode())
            assert await pull.receive() == [scheme.encode()]


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
async def test_the_address_is_the_transports_own(scheme: str, tmp_path: Path) -> None:
    """'The address specifies the transport-specific address to connect to.'."""
    async with opened() as ctx:
        places = Places(ctx, tmp_path)
        pulls = {name: ctx.socket(trimq.Pull) for name in (places.new(scheme), places.new(scheme))}
        for name, pull in pulls.items():
            pull.bind(name)
            push = ctx.socket(trimq.Push)
            push.connect(name)
            await push.send(name.encode())
        for name, pull in pulls.items():
            assert await pull.receive() == [name.encode()]
        with pytest.raises(trimq.InvalidEndpoint, match="no tcp endpoint: there is no port"):
            ctx.socket(trimq.Push).connect("tcp://name")  # what is right for inproc is wrong for tcp


# The transports


def test_which_transports_there_are() -> None:
    """'0MQ provides the the following transports': what is built of them can be asked for."""
    names = ["tcp", "ipc", "inproc", "pgm", "epgm", "vmci", "udp"]
    assert [name for name in names if trimq.has(name)] == names


async def test_tcp_is_unicast_over_tcp() -> None:
    """'tcp: unicast transport using TCP'."""
    async with opened() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        push.connect(pull.bind(TCP))
        await push.send(b"over tcp")
        assert await pull.receive() == [b"over tcp"]
        assert [peer.address for peer in pull.peers] == ["127.0.0.1"]


async def test_ipc_is_between_local_processes(tmp_path: Path) -> None:
    """'ipc: local inter-process communication transport': from another process, through a socket in the file system."""
    endpoint = f"ipc://{tmp_path}/socket"
    program = f"""
import trio, trimq
async def main():
    async with trimq.open_context() as ctx:
        push = ctx.socket(trimq.Push)
        push.connect({endpoint!r})
        await push.send(b"from another process")
trio.run(main)
"""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull)
        pull.bind(endpoint)
        assert (tmp_path / "socket").is_socket()
        done = await trio.run_process([sys.executable, "-c", program], cwd=Path(trimq.__file__).parent.parent)
        assert done.returncode == 0
        assert await pull.receive() == [b"from another process"]


async def test_inproc_is_within_a_context() -> None:
    """'inproc: local in-process (inter-thread) communication transport': the name means nothing in another context."""
    async with opened() as ctx, opened() as other:
        pull, push, stranger = ctx.socket(trimq.Pull), ctx.socket(trimq.Push), other.socket(trimq.Push)
        pull.bind("inproc://name")
        elsewhere = stranger.connect("inproc://name")
        push.connect("inproc://name")
        await push.send(b"here")
        assert await pull.receive() == [b"here"]
        assert len(pull.peers) == 1
        assert elsewhere.state is EndpointState.CONNECTING


async def test_inproc_serves_threads() -> None:
    """'inproc: local in-process (inter-thread) communication transport': from worker threads, through trio."""
    async with opened() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind("inproc://name")
        push.connect("inproc://name")
        await trio.to_thread.run_sync(lambda: trio.from_thread.run(push.send, b"from a thread"))
        received = await trio.to_thread.run_sync(lambda: trio.from_thread.run(pull.receive))
        assert received == [b"from a thread"]


MULTICAST = (trimq.Pub, trimq.Sub, trimq.XPub, trimq.XSub)


def raw_sockets() -> bool:
    """Whether this process may have pgm's sockets."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 113).close()
    except PermissionError:
        return False
    return True


@pytest.mark.parametrize("scheme", ["pgm", "epgm"])
@kinds
async def test_pgm_and_epgm_are_for_four_types(scheme: str, kind: type[trimq.Socket]) -> None:
    """'pgm, epgm: reliable multicast transport using PGM': for PUB, SUB, XPUB and XSUB only; pgm takes a privilege."""
    async with opened() as ctx:
        endpoint = f"{scheme}://127.0.0.1;239.192.1.1:15555"
        if kind not in MULTICAST:
            with pytest.raises(trimq.IncompatibleProtocol, match="only PUB, SUB, XPUB and XSUB"):
                ctx.socket(kind).connect(endpoint)
        elif scheme == "epgm" or raw_sockets():
            assert ctx.socket(kind).connect(endpoint).state is EndpointState.READY
        else:
            with pytest.raises(PermissionError, match="epgm does without"):
                ctx.socket(kind).connect(endpoint)


@pytest.mark.parametrize("scheme", ["pgm", "epgm"])
@pytest.mark.parametrize(("publisher", "subscriber"), [(trimq.Pub, trimq.Sub), (trimq.XPub, trimq.XSub)])
async def test_pgm_and_epgm_are_reliable_multicast(
    scheme: str, publisher: type[trimq.Pub | trimq.XPub], subscriber: type[trimq.Sub | trimq.XSub]
) -> None:
    """'pgm, epgm: reliable multicast transport using PGM': what is sent once, all receive; whoever binds or connects."""
    if scheme == "pgm" and not raw_sockets():
        pytest.skip("platform: no right to raw sockets")
    async with opened(rate=100_000) as ctx:
        pub, *subs = ctx.socket(publisher), *(ctx.socket(subscriber) for _ in range(2))
        endpoint = f"{scheme}://127.0.0.1;239.192.1.1:15556"
        for sub in subs:
            sub.subscribe(b"a")
        subs[0].bind(endpoint)
        subs[1].connect(endpoint)
        pub.connect(endpoint)
        await pub.send_many([b"a%d" % n, bytes(100)] for n in range(100))
        for sub in subs:
            assert [await sub.receive() for _ in range(100)] == [[b"a%d" % n, bytes(100)] for n in range(100)]


@kinds
async def test_vmci_needs_its_sockets(kind: type[trimq.Socket]) -> None:
    """'vmci: virtual machine communications interface (VMCI)': for all these types, where there is AF_VSOCK.

    Here the tests see to it that there is none; tests/guest has it.
    """
    async with opened() as ctx:
        with pytest.raises(trimq.ProtocolNotSupported, match="this Python has no AF_VSOCK sockets, which vmci needs"):
            ctx.socket(kind).connect("vmci://1:5555")


@kinds
async def test_udp_carries_few_types(kind: type[trimq.Socket]) -> None:
    """'udp: unreliable unicast and multicast using UDP': for RADIO, DISH and DGRAM only; of these, RADIO connects."""
    async with opened() as ctx:
        if kind is trimq.Radio:
            assert ctx.socket(kind).connect("udp://127.0.0.1:5555").state is not EndpointState.CLOSED
            return
        if kind is trimq.Dish:
            with pytest.raises(trimq.IncompatibleProtocol):
                ctx.socket(kind).connect("udp://127.0.0.1:5555")
            return
        with pytest.raises(trimq.IncompatibleProtocol, match="only DGRAM, DISH and RADIO"):
            ctx.socket(kind).connect("udp://127.0.0.1:5555")


# One-to-many and many-to-one


@on_transports("tcp", "inproc", without=(trimq.Pair, trimq.Channel))
async def test_one_to_many(kind: type[trimq.Socket], scheme: str, tmp_path: Path) -> None:
    """'Every 0MQ socket type except ZMQ_PAIR and ZMQ_CHANNEL supports one-to-many ... semantics.'."""
    other, traffic = PATTERNS[kind]
    async with opened() as ctx:
        places = Places(ctx, tmp_path)
        one, many = ctx.socket(kind), [ctx.socket(other) for _ in range(2)]
        for each in many:
            one.connect(each.bind(places.new(scheme)))
        await one.wait_for_peers(2)
        for each in many:
            await each.wait_for_peers(1)
        await traffic(one, many)


@on_transports("tcp", "inproc", without=(trimq.Pair, trimq.Channel))
async def test_many_to_one(kind: type[trimq.Socket], scheme: str, tmp_path: Path) -> None:
    """'Every 0MQ socket type except ZMQ_PAIR and ZMQ_CHANNEL supports ... many-to-one semantics.'."""
    other, traffic = PATTERNS[kind]
    async with opened() as ctx:
        one, many = ctx.socket(kind), [ctx.socket(other) for _ in range(2)]
        endpoint = one.bind(Places(ctx, tmp_path).new(scheme))
        for each in many:
            each.connect(endpoint)
        await one.wait_for_peers(2)
        await traffic(one, many)


@pytest.mark.parametrize("kind", [trimq.Pair, trimq.Channel])
@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
async def test_pair_has_one_peer(scheme: str, kind: Any, tmp_path: Path) -> None:
    """'... except ZMQ_PAIR and ZMQ_CHANNEL': a second peer is refused, and told; a second connect is refused at once."""
    async with opened() as ctx:
        bound, first, second = (ctx.socket(kind) for _ in range(3))
        endpoint = bound.bind(Places(ctx, tmp_path).new(scheme))
        await first.connect(endpoint).ready()
        await bound.wait_for_peers(1)
        refused = second.connect(endpoint)
        if scheme == "inproc":
            with pytest.raises(trimq.ProtocolError, match="one peer at a time"):
                await refused.ready()
        else:
            await reaches(refused, EndpointState.WAITING, EndpointState.LOST)  # its own handshake may be complete
            assert isinstance(refused.cause, OSError)
        assert len(bound.peers) == 1
        await first.send(b"still here")
        assert await bound.receive() == [b"still here"]
        with pytest.raises(trimq.StateError, match=f"a {kind.__name__} has one peer"):
            first.connect(endpoint)


async def test_the_precise_semantics_are_the_types() -> None:
    """'The precise semantics depend on the socket type and are defined in zmq_socket(3).': with the same two peers,

    a Push gives each message to the next, a Pub to all, a Router to the one it names.
    """
    async with opened() as ctx:
        push, pulls = ctx.socket(trimq.Push), [ctx.socket(trimq.Pull) for _ in range(2)]
        for pull in pulls:
            await push.connect(pull.bind(TCP)).ready()
        await push.send_many([b"0", b"1", b"2", b"3"])
        assert [[await pull.receive() for _ in range(2)] for pull in pulls] == [[[b"0"], [b"2"]], [[b"1"], [b"3"]]]

        pub, subs = ctx.socket(trimq.Pub), [ctx.socket(trimq.Sub) for _ in range(2)]
        for sub in subs:
            sub.subscribe(b"")
            pub.connect(sub.bind(TCP))
        await pub.wait_for_subscribers(2)
        await pub.send(b"all")
        assert [await sub.receive() for sub in subs] == [[b"all"], [b"all"]]

        router = ctx.socket(trimq.Router, mandatory=True)
        dealers = [ctx.socket(trimq.Dealer, routing_id=name) for name in (b"a", b"b")]
        for dealer in dealers:
            router.connect(dealer.bind(TCP))
        await router.wait_for_peers(2)
        for name in (b"b", b"a"):
            await router.send([name, b"for " + name])
        assert [await dealer.receive() for dealer in dealers] == [[b"for a"], [b"for b"]]


# The first note


async def test_connect_returns_before_the_connection_is_made() -> None:
    """'the connection is not performed immediately but as needed by 0MQ': connect only starts it.

    It is needed from then on: trimq does not wait for a message to send.
    """
    with plain_listener() as (endpoint, listener):
        async with opened() as ctx:
            push = ctx.socket(trimq.Push)
            connected = push.connect(endpoint)
            assert connected.state is EndpointState.CONNECTING
            assert push.peers == ()
            async with await listener.accept():  # though nothing was sent
                await reaches(connected, EndpointState.HANDSHAKING)


async def test_inproc_is_performed_immediately() -> None:
    """'for most transports ... the connection is not performed immediately': inproc is the one where it is."""
    async with opened() as ctx:
        pull, push = ctx.socket(trimq.Pull), ctx.socket(trimq.Push)
        pull.bind("inproc://name")
        assert push.connect("inproc://name").state is EndpointState.READY
        assert len(push.peers) == len(pull.peers) == 1


@kinds
async def test_success_does_not_mean_connected(kind: type[trimq.Socket], tmp_path: Path) -> None:
    """'a successful call to zmq_connect() does not mean that the connection was or could actually be established'."""
    async with opened() as ctx:
        for endpoint, cause in (
            (free(ctx), ConnectionRefusedError),
            (f"ipc://{tmp_path}/nobody", FileNotFoundError),
            ("tcp://name.invalid:5555", socket.gaierror),
        ):
            nothing_looked_up = _Resolver({})
            trio.socket.set_custom_hostname_resolver(nothing_looked_up)
            sock = ctx.socket(kind)
            connected = sock.connect(endpoint)
            await reaches(connected, EndpointState.WAITING)
            assert isinstance(connected.cause, cause)
            assert sock.peers == ()
            sock.close()


class _Resolver(trio.abc.HostnameResolver):
    """Names for a test, in place of the system's."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    async def getaddrinfo(
        self, host: bytes | None, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        name = (host or b"").decode()
        if name not in self._names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self._names[name], int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.mark.parametrize("first", ["bind", "connect"])
@on_transports("tcp", "ipc", "inproc")
async def test_order_does_not_matter(kind: type[trimq.Socket], scheme: str, first: str, tmp_path: Path) -> None:
    """'the order in which a server socket is bound and a client socket is connected to it does not matter'.

    Not for inproc either, and not for PAIR, which keeps trying until its first handshake.
    """
    other, traffic = PATTERNS[kind]
    async with opened() as ctx:
        server, client = ctx.socket(other), ctx.socket(kind)
        endpoint = Places(ctx, tmp_path).new(scheme)
        if first == "bind":
            server.bind(endpoint)
            connected = client.connect(endpoint)
        else:
            connected = client.connect(endpoint)
            if scheme != "inproc":
                await reaches(connected, EndpointState.WAITING)  # it has tried in vain
            server.bind(endpoint)
        await connected.ready()
        await server.wait_for_peers(1)
        await traffic(client, [server])


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_others_reconnect(scheme: str, tmp_path: Path) -> None:
    """'The ZMQ_PAIR and ZMQ_CHANNEL sockets are an exception, as they do not automatically reconnect': others do."""
    async with opened() as ctx:
        endpoint = Places(ctx, tmp_path).new(scheme)
        push = ctx.socket(trimq.Push)
        connected = push.connect(endpoint)
        for n in range(3):
            async with ctx.socket(trimq.Pull) as pull:
                pull.bind(endpoint)
                await connected.ready()
                await push.send(b"%d" % n)
                assert await pull.receive() == [b"%d" % n]
            await until(lambda: not push.peers, push._peer_bell, pace=push._pace)


@pytest.mark.parametrize("kind", [trimq.Pair, trimq.Channel])
@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
async def test_pair_does_not_reconnect(scheme: str, kind: Any, tmp_path: Path) -> None:
    """'The ZMQ_PAIR and ZMQ_CHANNEL sockets are an exception, as they do not automatically reconnect to endpoints.'.

    The endpoint is lost, with its cause; a new connect dials afresh.
    """
    async with opened() as ctx:
        endpoint = Places(ctx, tmp_path).new(scheme)
        pair, there = ctx.socket(kind), ctx.socket(kind)
        there.bind(endpoint)
        connected = pair.connect(endpoint)
        await pair.send(b"hello")
        assert await there.receive() == [b"hello"]
        there.close()
        await reaches(connected, EndpointState.LOST)
        assert isinstance(connected.cause, OSError)
        with pytest.raises(type(connected.cause)):
            await connected.ready()
        again, third = ctx.socket(kind), ctx.socket(kind)
        again.bind(endpoint)
        await third.connect(endpoint).ready()  # would be refused, had the first one come back
        await again.wait_for_peers(1)
        assert pair.peers == ()
        with pytest.raises(trio.WouldBlock):
            pair.send_nowait(b"to nobody")
        third.close()
        await until(lambda: not again.peers, again._peer_bell, pace=again._pace)
        await pair.connect(endpoint).ready()
        await pair.send(b"hello again")
        assert await again.receive() == [b"hello again"]


# The second note


QUEUE = (trimq.Req, trimq.Dealer, trimq.Push, trimq.Pair)  # block while nobody has room
DROP = (trimq.Pub, trimq.XPub, trimq.XSub)  # drop what nobody takes


@pytest.mark.parametrize("kind", QUEUE)
@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
async def test_after_connect_messages_queue(kind: Any, scheme: str, tmp_path: Path) -> None:
    """'following a zmq_connect(), for socket types except for ZMQ_ROUTER, the socket enters its normal ready state'.

    Before anybody is there it takes messages, up to its high-water mark; beyond that it blocks. All arrive once somebody is.
    """
    async with opened(send_hwm=2, receive_hwm=2) as ctx:
        sock, endpoint = ctx.socket(kind), Places(ctx, tmp_path).new(scheme)
        sock.connect(endpoint)
        await sock.wait_sendable()
        other: Any = ctx.socket(PATTERNS[kind][0])
        async with trio.open_nursery() as nursery:
            sock.send_nowait(b"1")
            expected = [b"1"]
            if kind is not trimq.Req:  # strict: one request at a time
                sock.send_nowait(b"2")
                with pytest.raises(trio.WouldBlock):
                    sock.send_nowait(b"over the high-water mark")
                nursery.start_soon(sock.send, b"waited")
                await trio.testing.wait_all_tasks_blocked()
                expected += [b"2", b"waited"]
            other.bind(endpoint)
            assert [await other.receive() for _ in expected] == [[message] for message in expected]


@pytest.mark.parametrize("kind", DROP)
async def test_after_connect_publishers_send(kind: Any) -> None:
    """'following a zmq_connect() ... the socket enters its normal ready state': for these, where send never waits."""
    async with opened(send_hwm=1) as ctx:
        sock = ctx.socket(kind)
        sock.connect(free(ctx))
        for _ in range(3):
            sock.send_nowait(b"topic")
            await sock.wait_sendable()


async def test_after_connect_stream_has_an_id() -> None:
    """'following a zmq_connect() ... the socket enters its normal ready state': Stream, by the endpoint's routing id."""
    with plain_listener() as (endpoint, listener):
        async with opened() as ctx:
            stream = ctx.socket(trimq.Stream)
            routing_id = stream.connect(endpoint).routing_id
            assert routing_id
            stream.send_nowait([routing_id, b"raw"])
            async with await listener.accept() as raw:
                assert await raw.receive_some(100) == b"raw"


@pytest.mark.parametrize("kind", [trimq.Rep, trimq.Sub, trimq.Pull])
async def test_after_connect_receivers_receive(kind: Any) -> None:
    """'following a zmq_connect() ... the socket enters its normal ready state': for those that begin by receiving."""
    async with opened() as ctx:
        sock, other = ctx.socket(kind), ctx.socket(PATTERNS[kind][0])
        sock.connect(other.bind(TCP))
        if kind is trimq.Sub:
            sock.subscribe(b"")
            await other.wait_for_subscribers()
        await other.send(b"message")
        assert await sock.receive() == [b"message"]


@pytest.mark.parametrize("kind", QUEUE)
@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
async def test_after_bind_alone_these_block(kind: Any, scheme: str, tmp_path: Path) -> None:
    """'following a zmq_bind() alone, the socket enters a mute state in which the socket blocks ... messages'.

    Until there is a peer; then who waited goes on.
    """
    async with opened() as ctx:
        sock = ctx.socket(kind)
        endpoint = sock.bind(Places(ctx, tmp_path).new(scheme))
        with pytest.raises(trio.WouldBlock):
            sock.send_nowait(b"too early")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.send, b"waited")
            await trio.testing.wait_all_tasks_blocked()
            assert len(sock._senders) == 1
            other: Any = ctx.socket(PATTERNS[kind][0])
            other.connect(endpoint)
            assert await other.receive() == [b"waited"]


@pytest.mark.parametrize("kind", DROP)
async def test_after_bind_alone_these_drop(kind: Any) -> None:
    """'following a zmq_bind() alone, the socket enters a mute state in which the socket ... drops messages'."""
    async with opened() as ctx:
        sock = ctx.socket(kind)
        endpoint = sock.bind(TCP)
        await sock.send(b"dropped")
        sock.send_nowait(b"dropped, too")
        other: Any = ctx.socket(PATTERNS[kind][0])
        other.connect(endpoint)
        if kind is trimq.XSub:
            await sock.wait_for_peers()
        else:
            other.subscribe(b"")
            await sock.wait_for_subscribers()
        await sock.send(b"received")
        assert await other.receive() == [b"received"]


async def test_after_bind_alone_addressed_types() -> None:
    """'... as defined in zmq_socket(3)': Router drops what has no peer, or says so; Stream says so; Rep owes no reply."""
    async with opened() as ctx:
        router, strict = ctx.socket(trimq.Router), ctx.socket(trimq.Router, mandatory=True)
        stream, rep = ctx.socket(trimq.Stream), ctx.socket(trimq.Rep)
        for sock in (router, strict, stream, rep):
            sock.bind(TCP)
        await router.send([b"nobody", b"dropped"])
        for sock in (strict, stream):
            with pytest.raises(trimq.HostUnreachable, match="no peer has the routing id b'nobody'"):
                await sock.send([b"nobody", b"refused"])
        with pytest.raises(trimq.StateError, match="receive a request before sending"):
            await rep.send(b"unasked")


async def test_router_is_ready_after_the_handshake() -> None:
    """'A ZMQ_ROUTER socket enters its normal ready state for a specific peer only when handshaking is complete

    for that peer, which may take an arbitrary time.' Here as long as this test takes to greet.
    """
    with plain_listener() as (endpoint, listener):
        async with opened() as ctx:
            router = ctx.socket(trimq.Router, mandatory=True)
            connected = router.connect(endpoint)
            async with await listener.accept() as stream:
                await reaches(connected, EndpointState.HANDSHAKING)
                with pytest.raises(trimq.HostUnreachable):
                    await router.send([b"late", b"too early"])
                peer = Connection(
                    socket_type="DEALER",
                    accepts=frozenset({"ROUTER"}),
                    mechanism=Null(),
                    identity=b"late",
                    publishes=False,
                )
                await stream.send_all(peer.begin())
                while peer.peer is None:
                    await stream.send_all(peer.handshake_untrusted(bytes(await stream.receive_some())))
                await connected.ready()
                assert connected.routing_id == b"late"
                await router.send([b"late", b"in time"])
                while not (items := peer.decode_untrusted(1)):
                    peer.feed(bytes(await stream.receive_some()))
                assert items == [b"in time"]


async def test_router_that_names_its_peer_is_ready_at_once() -> None:
    """'A ZMQ_ROUTER socket enters its normal ready state for a specific peer only when handshaking is complete':

    unless the connect named the peer (ZMQ_CONNECT_ROUTING_ID).
    """
    async with opened() as ctx:
        router, dealer = ctx.socket(trimq.Router, mandatory=True), ctx.socket(trimq.Dealer, routing_id=b"its own")
        endpoint = free(ctx)
        connected = router.connect(endpoint, routing_id=b"ours")
        assert connected.routing_id == b"ours"
        router.send_nowait([b"ours", b"early"])
        dealer.bind(endpoint)
        assert await dealer.receive() == [b"early"]
        await dealer.send(b"reply")
        assert await router.receive() == [b"ours", b"reply"]


# The third note


ONCE = (trimq.Dealer, trimq.Sub, trimq.Pub, trimq.Req)


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_a_second_connect_is_ignored(kind: Any, scheme: str, tmp_path: Path) -> None:
    """'any attempt to connect to an already connected endpoint is silently ignored (i.e., returns zero). This behavior

    applies to ZMQ_DEALER, ZMQ_SUB, ZMQ_PUB, and ZMQ_REQ socket types.' The same endpoint comes back.
    """
    async with opened() as ctx:
        sock, later, other = ctx.socket(kind), ctx.socket(kind), ctx.socket(PATTERNS[kind][0])
        endpoint = other.bind(Places(ctx, tmp_path).new(scheme))
        connected = sock.connect(endpoint)
        assert sock.connect(str(endpoint)) is connected  # while it connects
        await connected.ready()
        assert sock.connect(endpoint) is connected  # and when it is there
        assert sock.endpoints == (connected,)
        await later.connect(endpoint).ready()
        await other.wait_for_peers(2)
        assert len(other.peers) == 2  # one of each
        sock.disconnect(endpoint)
        assert sock.connect(endpoint) is not connected  # connected no more: this one is new


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in (*ONCE, trimq.Pair, trimq.Channel)])
async def test_for_others_a_second_connect_is_a_second_connection(kind: Any) -> None:
    """'for some socket types, multiple connections to the same endpoint don't really make sense': for these they do."""
    async with opened() as ctx:
        sock, other = ctx.socket(kind), ctx.socket(PATTERNS[kind][0])
        endpoint = other.bind(TCP)
        first, second = sock.connect(endpoint), sock.connect(endpoint)
        assert first is not second
        assert sock.endpoints == (first, second)
        await other.wait_for_peers(2)


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in (trimq.Pair, trimq.Channel, trimq.Stream)])
async def test_inproc_always_makes_a_new_connection(kind: Any) -> None:
    """'any attempt to connect to an already connected endpoint is silently ignored': not for inproc, as in libzmq."""
    async with opened() as ctx:
        sock, other = ctx.socket(kind), ctx.socket(PATTERNS[kind][0])
        other.bind("inproc://name")
        assert sock.connect("inproc://name") is not sock.connect("inproc://name")
        assert len(other.peers) == 2


# RETURN VALUE


async def test_returns_the_endpoint_or_raises() -> None:
    """'returns zero if successful. Otherwise it returns -1 and sets errno': an Endpoint, or a ZMQError with errno."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        assert isinstance(push.connect("inproc://name"), trimq.Endpoint)
        with pytest.raises(trimq.ZMQError) as caught:
            push.connect("inproc:name")
        assert caught.value.errno == errno.EINVAL
        assert isinstance(caught.value, OSError)
        assert len(push.endpoints) == 1  # what failed has left nothing


# ERRORS


def check(error: BaseException, kind: type[trimq.ZMQError], number: int, also: type[BaseException], says: str) -> None:
    assert type(error) is kind
    assert isinstance(error, also)
    assert isinstance(error, trimq.ZMQError)
    assert error.errno == number
    assert re.search(says, str(error)), str(error)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("", "there is no '://'; write SCHEME://ADDRESS"),
        ("tcp", "there is no '://'; write SCHEME://ADDRESS"),
        ("tcp:/127.0.0.1:5555", "there is no '://'"),
        ("://name", "there is no scheme before '://'"),
        ("TCP://127.0.0.1:5555", "schemes are lower-case words, and 'TCP' is not one"),
        ("inproc://", "there is no address after '://'"),
        ("tcp://localhost", "there is no port; write tcp://server001:5555"),
        ("tcp://:5555", "there is no host; write tcp://server001:5555"),
        ("tcp://localhost:", "a port is a decimal number from 1 to 65535"),
        ("tcp://localhost:http", "a port is a decimal number from 1 to 65535"),
        ("tcp://localhost:65536", "a port is a decimal number from 1 to 65535"),
        ("tcp://localhost:0", "port 0 is for bind"),
        ("tcp://localhost:*", r"port \* is for bind"),
        ("tcp://*:5555", r"'\*' is for bind, and connect needs a host; write tcp://127.0.0.1:5555"),
        ("tcp://two words:5555", "neither an address nor a host's name"),
        ("tcp://[::1:5555", r"the brackets do not match; write tcp://\[::1\]:5555"),
        ("tcp://127.0.0.1;localhost:5555", r"the source address has no port"),
        ("ipc://*", r"'\*' is for bind, and connect needs the path that was bound: ipc:///tmp/name"),
        ("ipc://@", "there is no name after '@'; write ipc://@name"),
        ("inproc://" + "n" * 257, "an inproc name has 1 to 256 characters, and this one has 257"),
    ],
)
async def test_einval(endpoint: str, says: str) -> None:
    """'EINVAL: The endpoint supplied is invalid.': InvalidEndpoint, also a ValueError."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        with pytest.raises(ValueError) as caught:
            push.connect(endpoint)
        check(caught.value, trimq.InvalidEndpoint, errno.EINVAL, ValueError, says)
        assert push.endpoints == ()


async def test_einval_names_what_is_too_long() -> None:
    """'EINVAL: The endpoint supplied is invalid.': an ipc path beyond the system's limit, with libzmq's ENAMETOOLONG."""
    async with opened() as ctx:
        with pytest.raises(ValueError) as caught:
            ctx.socket(trimq.Push).connect("ipc:///" + "n" * 200)
        check(caught.value, trimq.InvalidEndpoint, errno.ENAMETOOLONG, ValueError, "is too long: the system takes")


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://server001:80", f"http is not a transport that trimq knows; this context has {HERE}"),
        ("tipc://{5555,0}", "this Python has no AF_TIPC sockets, which tipc needs: it is for Linux; use tcp"),
        ("vmci://1:5555", "this Python has no AF_VSOCK sockets, which vmci needs: it is for Linux; use tcp"),
        ("ws://server001:80", f"ws is {NOT_BUILT}; this context has {HERE}"),
        ("wss://server001:443", f"wss is {NOT_BUILT}"),
    ],
)
async def test_eprotonosupport(endpoint: str, says: str) -> None:
    """'EPROTONOSUPPORT: The requested transport protocol is not supported.': says whether it is known at all."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        with pytest.raises(trimq.ZMQError) as caught:
            push.connect(endpoint)
        check(caught.value, trimq.ProtocolNotSupported, errno.EPROTONOSUPPORT, OSError, says)
        assert push.endpoints == ()


@pytest.mark.parametrize(
    ("kind", "endpoint", "says"),
    [
        (
            trimq.Req,
            "udp://127.0.0.1:5555",
            "udp does not carry REQ: .* for REQ use inproc, ipc, tcp, tipc, vmci or vsock",
        ),
        (
            trimq.Req,
            "pgm://eth0;239.192.1.1:5555",
            "pgm does not carry REQ: .* for REQ use inproc, ipc, tcp, tipc, vmci or vsock",
        ),
        (trimq.Pair, "epgm://eth0;239.192.1.1:5555", "epgm does not carry PAIR: it carries only PUB"),
        (
            trimq.Stream,
            "inproc://name",
            "inproc does not carry STREAM: .* for STREAM use ipc, tcp, tipc, vmci or vsock",
        ),
        (trimq.Stream, "ws://server001:80", "ws does not carry STREAM"),
    ],
)
async def test_enocompatproto(kind: Any, endpoint: str, says: str) -> None:
    """'ENOCOMPATPROTO: The requested transport protocol is not compatible with the socket type.'.

    Decided before whether there is such a transport here.
    """
    async with opened() as ctx:
        sock = ctx.socket(kind)
        with pytest.raises(trimq.ZMQError) as caught:
            sock.connect(endpoint)
        check(caught.value, trimq.IncompatibleProtocol, ENOCOMPATPROTO, OSError, says)
        assert sock.endpoints == ()


@pytest.mark.parametrize("end", ["shutdown", "block"])
async def test_eterm(end: str) -> None:
    """'ETERM: The 0MQ context associated with the specified socket was terminated.': also a trio.ClosedResourceError."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        if end == "shutdown":
            ctx.shutdown()
            with pytest.raises(trio.ClosedResourceError) as caught:
                push.connect("inproc://name")
    if end == "block":
        with pytest.raises(trio.ClosedResourceError) as caught:
            push.connect("inproc://name")
    check(caught.value, trimq.ContextTerminated, ETERM, trio.ClosedResourceError, "the context has ended")


async def test_enotsock() -> None:
    """'ENOTSOCK: The provided socket was invalid.': a socket that was closed; also a trio.ClosedResourceError."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        push.close()
        with pytest.raises(trio.ClosedResourceError) as caught:
            push.connect("inproc://name")
        check(caught.value, trimq.SocketClosed, errno.ENOTSOCK, trio.ClosedResourceError, "this Push socket is closed")


async def test_a_socket_without_a_context_cannot_be() -> None:
    """'ENOTSOCK: The provided socket was invalid.': one that no context made does not come into being."""
    with pytest.raises(TypeError, match=r"a socket belongs to a context: context.socket\(trimq.Push\)"):
        trimq.Push()


EMTHREAD_SAYS = (
    r"from a thread use trio.from_thread.run\(.*, in another run or a forked child open a context of its own"
)


async def test_emthread_in_a_thread() -> None:
    """'EMTHREAD: No I/O thread is available to accomplish the task.': not here; also a RuntimeError."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        with pytest.raises(RuntimeError) as caught:
            await trio.to_thread.run_sync(push.connect, "inproc://name")
        check(caught.value, trimq.NoIOThread, EMTHREAD, RuntimeError, EMTHREAD_SAYS)
        assert push.endpoints == ()


async def test_emthread_in_another_run() -> None:
    """'EMTHREAD: No I/O thread is available to accomplish the task.': a context belongs to the run that opened it."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)

        async def main() -> None:
            push.connect("inproc://name")

        with pytest.raises(RuntimeError) as caught:
            await trio.to_thread.run_sync(trio.run, main)
        check(caught.value, trimq.NoIOThread, EMTHREAD, RuntimeError, EMTHREAD_SAYS)


FORKED = """
import os, sys, trio, trimq
async def main():
    async with trimq.open_context() as ctx:
        push = ctx.socket(trimq.Push)
        child = os.fork()
        if not child:
            try:
                push.connect("inproc://name")
            except trimq.NoIOThread:
                os._exit(42)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
trio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="platform: no fork")
def test_emthread_in_a_forked_child() -> None:
    """'EMTHREAD: No I/O thread is available to accomplish the task.': a fork has no share in its parent's context."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        cwd=Path(trimq.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr


# EXAMPLE


async def test_the_example() -> None:
    """'Connecting a subscriber socket to an in-process and a TCP transport': my_publisher and server001, at once."""
    trio.socket.set_custom_hostname_resolver(_Resolver({"server001": "127.0.0.1"}))
    async with opened() as ctx:
        here, there = ctx.socket(trimq.Pub), ctx.socket(trimq.Pub)
        there.bind(TCP)
        port = str(there.endpoints[0]).rpartition(":")[2]  # 5555 in the page

        sub = ctx.socket(trimq.Sub)
        sub.subscribe(b"")
        sub.connect("inproc://my_publisher")
        sub.connect(f"tcp://server001:{port}")

        here.bind("inproc://my_publisher")
        await here.wait_for_subscribers()
        await there.wait_for_subscribers()
        await here.send(b"in-process")
        await there.send(b"over tcp")
        assert sorted([(await sub.receive())[0] for _ in range(2)]) == [b"in-process", b"over tcp"]
        assert len(sub.peers) == 2
