"""libzmq's own tests of endpoints (libzmq.md 7): what can be bound and connected to, in which order, and what is refused.

Each test bears the name of libzmq's program. A scenario is written from what the program is to show, and asked of trimq and
of libzmq by the same lines.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance.sides import Either, bounce, trimqs

import trimq

Fresh = Callable[[str], str]


async def test_abstract_ipc(either: Either) -> None:
    """A name that is no file: it is bound as it is written, and an empty one is refused."""
    async with either() as library:
        name = f"ipc://@trimq-{uuid.uuid4().hex}"
        dealer = await library.socket("DEALER")
        assert await dealer.bind(name) == name
        client = await library.socket("DEALER")
        await client.connect(name)
        await bounce(dealer, client)
        assert await dealer.refuses("bind", "ipc://@") == "EINVAL"


async def test_bind_after_connect_tcp(either: Either, fresh: Fresh) -> None:
    """What is sent before anybody listens arrives, in order, once somebody does."""
    async with either() as library:
        late, early = await library.socket("DEALER"), await library.socket("DEALER")
        address = await late.bind(fresh("tcp"))
        await late.unbind(address)
        await early.connect(address)
        for text in (b"hello", b"world", b"!"):
            await early.send(text)
        await late.bind(address)
        assert [await late.receive() for _ in range(3)] == [[b"hello"], [b"world"], [b"!"]]


SOURCES = (
    "tcp://127.0.0.1:0;localhost:1234",
    "tcp://localhost:5555;localhost:1235",
    "tcp://lo:5555;localhost:1235",
)


@pytest.mark.parametrize("endpoint", SOURCES)
async def test_bind_src_address(endpoint: str, either: Either) -> None:
    """The address that a connection comes from may be an address, a name of a host, or one of an interface."""
    async with either() as library:
        pub = await library.socket("PUB")
        assert await pub.refuses("connect", endpoint) == ""


@pytest.mark.parametrize("endpoint", ["tcp://localhost:1234", "tcp://[::1]:1234"])
async def test_connect_resolve(endpoint: str, either: Either) -> None:
    """Names and addresses can be connected to."""
    async with either() as library:
        pub = await library.socket("PUB", ipv6=True)
        assert await pub.refuses("connect", endpoint) == ""


REFUSED = {
    "tcp://localhost:invalid": "EINVAL",
    "tcp://in val id:1234": "EINVAL",
    "tcp://": "EINVAL",
    "invalid://localhost:1234": "EPROTONOSUPPORT",
}


@pytest.mark.parametrize("endpoint", REFUSED)
async def test_connect_resolve_refuses(endpoint: str, either: Either) -> None:
    """What is no endpoint is refused at once."""
    async with either() as library:
        pub = await library.socket("PUB")
        assert await pub.refuses("connect", endpoint) == REFUSED[endpoint]


def scribbled(seed: int) -> list[str]:
    """Endpoints that somebody has scribbled over."""
    source = random.Random(seed)
    good = [
        "tcp://127.0.0.1:*", "tcp://*:*", "tcp://[::1]:0", "tcp://lo:0", "tcp://127.0.0.1:0;127.0.0.1:9", "ipc://*",
        "ipc://name", "ipc://@name", "inproc://name", "udp://1:2", "ws://*:*/x", "pgm://a;b:1", "",
    ]  # fmt: skip
    texts = []
    for _ in range(300):
        text = list(source.choice(good))
        for _ in range(source.randrange(4)):
            place = source.randrange(len(text) + 1)
            text[place : place + source.randrange(3)] = source.choice(
                ["", ":", ";", "*", "[", "]", "@", "/", "\0", "%", "é", "\udc80", "9" * 20, "a" * 120, " ", "-1"]
            )
        texts.append("".join(text))
    return texts


async def test_bind_fuzzer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is given to ``bind``, it is bound or refused, and the socket can go on."""
    monkeypatch.chdir(tmp_path)
    async with trimqs() as library:
        refused = 0
        pub = (await library.socket("PUB")).socket
        for text in scribbled(1):
            try:
                pub.bind(text)
            except OSError:  # every ZMQError is one
                refused += 1
        assert len(pub.endpoints) == 300 - refused
        assert 0 < refused < 300


async def test_connect_fuzzer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for ``connect``, which looks nobody up before it returns."""
    monkeypatch.chdir(tmp_path)
    async with trimqs() as library:
        refused = 0
        for text in scribbled(2):
            pub = (await library.socket("PUB")).socket
            try:
                pub.connect(text)
            except OSError:
                refused += 1
            pub.close()  # before anything could be dialled
        assert 0 < refused < 300


async def test_ipc_wildcard(either: Either) -> None:
    """``ipc://*`` makes up a path, which can be connected to."""
    async with either() as library:
        server, client = await library.pair("PAIR PAIR", "ipc://*")
        await bounce(server, client)


async def test_last_endpoint(either: Either, fresh: Fresh) -> None:
    """Each bind says where it is: exactly what was asked for where that was no wildcard."""
    async with either() as library:
        router, scout = await library.socket("ROUTER"), await library.socket("PULL")
        free = [await scout.bind(fresh("tcp")) for _ in range(2)]
        await scout.close()
        for address in free:
            assert await router.bind(address) == address


async def test_pair_inproc(either: Either, fresh: Fresh) -> None:
    """Both ways over inproc, and a message of two constant frames is what it was."""
    async with either() as library:
        server, client = await library.pair("PAIR PAIR", fresh("inproc"))
        await bounce(server, client)
        await client.send([b"foo", b"foobar"])
        assert await server.receive() == [b"foo", b"foobar"]


async def test_pair_ipc(either: Either, fresh: Fresh) -> None:
    """Both ways over ipc; a path that is too long for the system is refused."""
    async with either() as library:
        server, client = await library.pair("PAIR PAIR", fresh("ipc"))
        await bounce(server, client)
        other = await library.socket("PAIR")
        assert await other.refuses("bind", "ipc://" + "a" * 108) == "ENAMETOOLONG"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_pair_tcp(host: str, either: Either, fresh: Fresh) -> None:
    """Both ways over tcp, by the number and by the name."""
    async with either() as library:
        server, client = await library.socket("PAIR"), await library.socket("PAIR")
        address = await server.bind(fresh("tcp"))
        await client.connect(address.replace("127.0.0.1", host))
        await bounce(server, client)


async def test_pair_tcp_cap_net_admin(either: Either, fresh: Fresh) -> None:
    """Both ways between sockets that are bound to the loopback interface."""
    async with either() as library:
        server, client = await library.pair("PAIR PAIR", fresh("tcp"), bind_to_device="lo")
        await bounce(server, client)


async def test_disconnect_inproc(either: Either, fresh: Fresh) -> None:
    """A SUB that comes and goes over inproc: it has what was published meanwhile, and the XPUB hears both."""
    async with either() as library:
        pub, sub = await library.socket("XPUB"), await library.socket("SUB")
        place = await pub.bind(fresh("inproc"))
        await sub.subscribe(b"foo")
        heard, published = [], []
        for turn in range(6):
            if turn == 1:
                await sub.connect(place)
            if turn == 4:
                await sub.disconnect(place)
            while (news := await pub.waiting()) is not None:
                heard.append(news)
            await pub.send([b"foo", b"this is %d" % turn])
            while (message := await sub.waiting()) is not None:
                published.append(message)
        assert published == [[b"foo", b"this is %d" % turn] for turn in (1, 2, 3)]
        assert heard == [[b"\1foo"], [b"\0foo"]]


async def test_capabilities() -> None:
    """What ``has`` says is what can be bound; tests/guest holds it of tipc, vmci and vsock, which need their sockets."""
    async with trimqs() as library:
        for scheme, address in {
            "tcp": "127.0.0.1:*", "ipc": "*", "inproc": "a", "epgm": "127.0.0.1;239.192.1.1:15557",
            "norm": "a:1", "ws": "*:*", "wss": "*:*",
        }.items():  # fmt: skip
            socket = await library.socket("PUB")
            assert (await socket.refuses("bind", f"{scheme}://{address}") == "") is trimq.has(scheme), scheme
        assert trimq.has("null")
        assert trimq.has("draft")
        assert trimq.has("udp")  # tests/transports/test_udp.py
        assert trimq.has("pgm")  # tests/transports/test_pgm.py, with the right to raw sockets
        assert not any(map(trimq.has, ["curve", "plain", "gssapi", "nonsense"]))
