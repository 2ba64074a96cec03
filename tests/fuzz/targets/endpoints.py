"""Endpoints: text in, a scheme and an address or InvalidEndpoint out, whatever the text.

The first byte says whether it is to bind or to connect.
"""

from __future__ import annotations

from collections.abc import Iterator

from trimq._address import TcpAddress, parse_tcp, split
from trimq._errors import InvalidEndpoint
from trimq._transports._inproc import InprocTransport
from trimq._transports._ipc import IpcTransport
from trimq._transports._tcp import TcpTransport

TRANSPORTS = {transport.scheme: transport for transport in (TcpTransport(), IpcTransport(), InprocTransport())}


def target(data: bytes) -> None:
    """Any text, as UTF-8 or what the file system makes of other bytes."""
    bind = bool(data[:1] and data[0] & 1)
    text = data[1:4096].decode("utf-8", "surrogateescape")
    try:
        scheme, address = split(text)
    except InvalidEndpoint:
        scheme, address = "tcp", text
    else:
        assert f"{scheme}://{address}" == text
        assert scheme
        assert address
    transport = TRANSPORTS.get(scheme, TRANSPORTS["tcp"])
    try:
        transport.check(address, bind=bind)
    except InvalidEndpoint:
        pass
    else:
        transport.dial_address(address)
        if transport.scheme == "tcp":
            written_again(parse_tcp(address, bind=bind), bind)


def written_again(where: TcpAddress, bind: bool) -> None:
    """What was understood is understood the same when it is written in the long form."""
    assert where.host
    assert (0 if bind else 1) <= where.port <= 65535
    assert where.version in (None, 4, 6)
    assert not where.zone or where.version == 6
    text = _text(where)
    if where.source is not None:
        assert where.source.source is None
        text = f"{_text(where.source)};{text}"
    assert parse_tcp(text, bind=bind) == where


def _text(where: TcpAddress) -> str:
    host = f"{where.host}%{where.zone}" if where.zone else where.host
    return f"[{host}]:{where.port}" if where.version == 6 else f"{host}:{where.port}"


def seeds() -> Iterator[bytes]:
    """What libzmq.md 3.1 to 3.3 has, right and wrong."""
    texts = """
        tcp://127.0.0.1:5555 tcp://*:* tcp://*:0 tcp://[::1]:5555 tcp://::1:5555 tcp://[fe80::1%eth0]:1 tcp://eth0:1
        tcp://fe80::1%2:9 tcp://server001:65535 tcp://192.0.2.1:*;server001:5555 tcp://*:0;[::1]:1 tcp://a;b;c:1 tcp://
        tcp://x tcp://:1 tcp://[::1:5 tcp://h:65536 tcp://h:00001 tcp://h:1e3 tcp://1.2.3.4.5:1 tcp://a..b:1 tcp://-a:1
        tcp://[]:1 tcp://[::ffff:1.2.3.4]:1 tcp://::%0:1 tcp://ex%61mple:1 tcp://xn--bcher-kva.example.:1 ipc://@ ipc://*
        ipc:///tmp/a ipc://@a ipc://*a ipc://./* inproc://a inproc:// udp://x:1 ://x tcp:/x TCP://x:1 t cp://x:1 tcp:///:1
    """.split()
    texts += [
        "ipc:///" + "p" * 120,
        "inproc://" + "n" * 257,
        "tcp://b\u00fccher:1",
        "tcp://\u0661:\u0661",
        "ipc://\0",
        "",
    ]
    for text in texts:
        yield b"\0" + text.encode()
        yield b"\1" + text.encode()
    yield b"\0ipc://\xff\xfe"
