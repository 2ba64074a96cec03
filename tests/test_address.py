"""What an endpoint's text means: libzmq.md 3.0 (common rules) and 3.1 (tcp)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies as st

from trimq._address import TcpAddress, check_scheme, parse_tcp, split
from trimq._errors import ENOCOMPATPROTO, IncompatibleProtocol, InvalidEndpoint, ProtocolNotSupported

BUILT = ("inproc", "ipc", "tcp")
TYPES = ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB", "STREAM"]
DRAFT_TYPES = ["SERVER", "CLIENT", "RADIO", "DISH", "SCATTER", "GATHER", "DGRAM", "PEER", "CHANNEL"]


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("tcp://127.0.0.1:5555", ("tcp", "127.0.0.1:5555")),
        ("inproc://a://b", ("inproc", "a://b")),  # the first separator counts
        ("inproc:// ", ("inproc", " ")),
        ("my-own+1.0://x", ("my-own+1.0", "x")),
    ],
)
def test_split(endpoint: str, parts: tuple[str, str]) -> None:
    """An endpoint is split at its first '://' (3.0)."""
    assert split(endpoint) == parts


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("", "no '://'"),
        ("tcp", "no '://'"),
        ("tcp:127.0.0.1:5555", "no '://'"),
        ("tcp:/127.0.0.1:5555", "no '://'"),
        ("://127.0.0.1:5555", "no scheme"),
        ("tcp://", "no address"),
        ("TCP://127.0.0.1:5555", "lower-case"),
        (" tcp://127.0.0.1:5555", "lower-case"),
        ("1tcp://x", "lower-case"),
        ("ipc:///tmp/a\0b", "zero byte"),
    ],
)
def test_split_refuses(endpoint: str, says: str) -> None:
    """What is no endpoint is EINVAL, and the message says why and shows one that is right."""
    with pytest.raises(InvalidEndpoint, match=says) as caught:
        split(endpoint)
    assert caught.value.errno == errno.EINVAL
    assert "tcp://127.0.0.1:5555" in str(caught.value)


def test_split_takes_text_only() -> None:
    """A mistake of the program's, not of the endpoint's: TypeError."""
    with pytest.raises(TypeError, match="b'tcp"):
        split(b"tcp://127.0.0.1:5555")  # type: ignore[arg-type]


def carried_by(scheme: str) -> set[str]:
    carried = set[str]()
    for socket_type in TYPES + DRAFT_TYPES:
        try:
            check_scheme(scheme, socket_type, [scheme])
        except IncompatibleProtocol:
            continue
        carried.add(socket_type)
    return carried


@pytest.mark.parametrize(
    ("schemes", "carried"),
    [
        ("udp", {"RADIO", "DISH", "DGRAM"}),
        ("pgm epgm norm", {"PUB", "SUB", "XPUB", "XSUB"}),
        ("tcp ipc tipc vmci vsock", {*TYPES, *DRAFT_TYPES} - {"DGRAM"}),
        ("inproc ws wss", {*TYPES, *DRAFT_TYPES} - {"DGRAM", "STREAM"}),
    ],
)
def test_what_a_scheme_carries(schemes: str, carried: set[str]) -> None:
    """The type and transport table of libzmq.md 3.0 to 3.7."""
    for scheme in schemes.split():
        assert carried_by(scheme) == carried, scheme


@pytest.mark.parametrize("scheme", ["udp", "pgm", "epgm", "norm"])
def test_incompatible_comes_before_unavailable(scheme: str) -> None:
    """zmq_connect(3) ENOCOMPATPROTO: udp, pgm and epgm with REQ, whether or not there is such a transport (issue 2, 4)."""
    with pytest.raises(IncompatibleProtocol, match=f"{scheme} does not carry REQ") as caught:
        check_scheme(scheme, "REQ", BUILT)
    assert caught.value.errno == ENOCOMPATPROTO
    assert "for REQ use inproc, ipc or tcp" in str(caught.value)


def test_incompatible_names_what_would_do() -> None:
    """The message says which types, and which transports, of this context if it has one."""
    with pytest.raises(IncompatibleProtocol, match=r"every type but DGRAM and STREAM; for STREAM use ipc or tcp$"):
        check_scheme("inproc", "STREAM", BUILT)
    with pytest.raises(IncompatibleProtocol, match=r"for DGRAM use udp$"):
        check_scheme("tcp", "DGRAM", BUILT)
    with pytest.raises(IncompatibleProtocol, match="only DGRAM, DISH and RADIO"):
        check_scheme("udp", "PUSH", BUILT)


@pytest.mark.parametrize("scheme", ["ws", "wss", "norm"])
def test_known_but_not_built(scheme: str) -> None:
    """zmq_connect(3) EPROTONOSUPPORT: a transport that libzmq has and trimq has not yet says so."""
    with pytest.raises(ProtocolNotSupported, match=f"^{scheme} is known but not built into this version") as caught:
        check_scheme(scheme, "PUB", BUILT)
    assert caught.value.errno == errno.EPROTONOSUPPORT
    assert "inproc, ipc and tcp" in str(caught.value)


def test_unknown_scheme() -> None:
    """zmq_connect(3) EPROTONOSUPPORT: an unknown transport; the message lists what there is."""
    with pytest.raises(ProtocolNotSupported, match=r"tpc is not a transport that trimq knows.* inproc, ipc and tcp"):
        check_scheme("tpc", "REQ", BUILT)


def test_built_but_not_in_this_context() -> None:
    """A context that was opened with other transports says which."""
    with pytest.raises(ProtocolNotSupported, match=r"no transport for tcp; this context has inproc$"):
        check_scheme("tcp", "REQ", ["inproc"])
    with pytest.raises(ProtocolNotSupported, match=r"no transport for epgm; this context has inproc and tcp$"):
        check_scheme("epgm", "SUB", ["inproc", "tcp"])


def test_a_transport_of_ones_own_passes() -> None:
    """A scheme not in the table, but handed in by transports=, carries every type (design 3)."""
    check_scheme("carrier-pigeon", "STREAM", [*BUILT, "carrier-pigeon"])
    check_scheme("tcp", "SOMETHING_NEW", BUILT)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:5555", TcpAddress("127.0.0.1", 5555)),
        ("127.0.0.1:*", TcpAddress("127.0.0.1", 0)),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("*:5555", TcpAddress("*", 5555)),
        ("*:*", TcpAddress("*", 0)),
        ("[::1]:5555", TcpAddress("::1", 5555)),
        ("::1:5555", TcpAddress("::1", 5555)),  # brackets are optional: the last colon separates the port
        ("[fe80::1%eth0]:5555", TcpAddress("fe80::1", 5555, "eth0")),
        ("fe80::1%2:5555", TcpAddress("fe80::1", 5555, "2")),
        ("[127.0.0.1]:5555", TcpAddress("127.0.0.1", 5555)),
        ("eth0:65535", TcpAddress("eth0", 65535)),
        ("eth0:1:5555", TcpAddress("eth0:1", 5555)),  # an alias of an interface
        ("br-1f2e.100:1", TcpAddress("br-1f2e.100", 1)),
    ],
)
def test_parse_to_bind(address: str, parsed: TcpAddress) -> None:
    """bind: IF:PORT (3.1)."""
    assert parse_tcp(address, bind=True) == parsed


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("server001:5555", TcpAddress("server001", 5555)),  # zmq_connect(3), the example
        ("localhost:1234", TcpAddress("localhost", 1234)),
        ("my_service.example.org.:1", TcpAddress("my_service.example.org.", 1)),
        ("[::1]:65535", TcpAddress("::1", 65535)),
        ("[2001:db8::1]:5555", TcpAddress("2001:db8::1", 5555)),
        ("::1:5555", TcpAddress("::1", 5555)),
        ("[fe80::1%eth0]:5555", TcpAddress("fe80::1", 5555, "eth0")),
        ("127.0.0.1:0;localhost:1234", TcpAddress("localhost", 1234, source=TcpAddress("127.0.0.1", 0))),
        ("lo:5555;localhost:1235", TcpAddress("localhost", 1235, source=TcpAddress("lo", 5555))),
        ("localhost:5555;localhost:1235", TcpAddress("localhost", 1235, source=TcpAddress("localhost", 5555))),
        ("[::1]:*;[::1]:1", TcpAddress("::1", 1, source=TcpAddress("::1", 0))),
        ("[fe80::1%2]:*;h:1", TcpAddress("h", 1, source=TcpAddress("fe80::1", 0, "2"))),
        ("*:7000;h:1", TcpAddress("h", 1, source=TcpAddress("*", 7000))),
    ],
)
def test_parse_to_connect(address: str, parsed: TcpAddress) -> None:
    """connect: [SRC;]HOST:PORT (3.1; test_connect_resolve and test_bind_src_address of libzmq)."""
    assert parse_tcp(address, bind=False) == parsed


BOTH_REFUSE = [
    ("127.0.0.1", "no port"),
    ("[::1]", "no port"),
    ("localhost:", "a port is"),
    ("localhost:invalid", "a port is"),
    ("localhost:567bad", "a port is"),  # libzmq takes 567 (8.3)
    ("localhost:65536", "a port is"),
    ("localhost:70000", "a port is"),  # libzmq takes 4464
    ("localhost:-1", "a port is"),
    ("localhost:+1", "a port is"),
    ("localhost: 1", "a port is"),
    ("localhost:0x10", "a port is"),
    ("localhost:1_0", "a port is"),
    ("localhost:\u0665", "a port is"),  # a digit, but not an ASCII one
    ("localhost:000001", "a port is"),
    ("localhost:5555/", "a port is"),
    (":5555", "there is no"),
    ("[]:5555", "there is no"),
    ("[::1:5555", "brackets"),
    ("::1]:5555", "brackets"),
    ("[[::1]]:5555", "brackets"),
    ("in val id:1234", "'in val id'"),
    ("tcp://localhost:1234", "is no address|neither an address"),
    ("user@host/x:1", "is no address|neither an address"),
    ("127.0.0.1%lo:5555", "IPv6"),
    ("host%lo:5555", "IPv6"),
    ("[fe80::1%]:5555", "zone"),
    ("[fe80::1%0]:5555", "zone"),
    ("[fe80::1%a b]:5555", "zone"),
    ("[fe80::1%\ud800]:5555", "zone"),
    ("\ud800:5555", "is no address|neither an address"),
    ("m\u00fcller.example:1", "is no address|neither an address"),
]


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize(("address", "says"), BOTH_REFUSE)
def test_parse_refuses(address: str, says: str, bind: bool) -> None:
    """A malformed address is EINVAL at once, with what was wrong and what would be right."""
    with pytest.raises(InvalidEndpoint, match=says) as caught:
        parse_tcp(address, bind=bind)
    assert caught.value.errno == errno.EINVAL
    assert "; write tcp://" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("*:5555", "is for bind"),
        ("localhost:*", r"port \* is for bind"),
        ("localhost:0", "port 0 is for bind"),
        ("localhost:00", "from 1 to 65535"),
        ("192.168.0.200:*", "is for bind"),
        ("-host:1", "neither an address nor"),
        ("a..b:1", "neither an address nor"),
        (f"{'a' * 64}.org:1", "neither an address nor"),
        (f"{'a.' * 130}:1", "neither an address nor"),
        ("eth0:1:5555", "neither an address nor"),
        ("a;b:1", "source address has no port"),
        ("127.0.0.1;b:1", "source address has no port"),
        ("127.0.0.1:x;b:1", "a port is"),
        (";b:1", "source address has no port"),
        ("a:1;b:2;c:3", "more than one ';'"),
        ("127.0.0.1:1;", "no port"),
    ],
)
def test_parse_refuses_to_connect(address: str, says: str) -> None:
    """What only bind may have, what no name server could be asked, and a source without its port."""
    with pytest.raises(InvalidEndpoint, match=says):
        parse_tcp(address, bind=False)


def test_parse_refuses_a_source_to_bind() -> None:
    """A source address is for connect."""
    with pytest.raises(InvalidEndpoint, match="is for connect"):
        parse_tcp("127.0.0.1:*;127.0.0.1:5555", bind=True)


def test_what_a_tcp_address_is() -> None:
    """Wildcard, version of IP, neither."""
    assert parse_tcp("*:1", bind=True).wildcard
    assert not parse_tcp("lo:1", bind=True).wildcard
    assert parse_tcp("127.0.0.1:1", bind=True).version == 4
    assert parse_tcp("[::1]:1", bind=True).version == 6
    assert parse_tcp("lo:1", bind=True).version is None


@given(st.text(max_size=40) | st.text("0123456789.:[]%;*ab", max_size=20), st.booleans())
def test_any_text_is_parsed_or_invalid(text: str, bind: bool) -> None:
    """Never another exception; and what is parsed can be given to the system's calls."""
    try:
        parsed = parse_tcp(text, bind=bind)
    except InvalidEndpoint:
        return
    for part in (parsed, parsed.source or parsed):
        assert 0 <= part.port <= 65535
        part.host.encode("ascii")
        part.zone.encode("ascii")
    if not bind:
        assert parsed.port > 0
        parsed.host.encode("idna")  # what socket.getaddrinfo does; it raises UnicodeError for a bad name


@given(st.text(max_size=30))
def test_any_text_is_split_or_invalid(text: str) -> None:
    """Never another exception, and nothing is lost."""
    try:
        scheme, address = split(text)
    except InvalidEndpoint:
        return
    assert f"{scheme}://{address}" == text
    assert scheme
    assert address
