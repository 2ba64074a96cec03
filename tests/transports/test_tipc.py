"""tipc without any of its sockets: addresses. What connects is in tests/guest."""

from __future__ import annotations

import pytest

import trimq
from trimq._transports._tipc import TipcTransport, _parse

TIPC = TipcTransport()
RANGE, NAME, ID, SCOPE = 1, 2, 3, 1
MOST = 2**32 - 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("{5560,0}", (RANGE, 5560, 0, 0, SCOPE)),
        ("{5560,3}", (RANGE, 5560, 3, 3, SCOPE)),
        ("{5560,0,0}", (RANGE, 5560, 0, 0, SCOPE)),
        ("{5560,0,9}", (RANGE, 5560, 0, 9, SCOPE)),
        ("{5560, 0, 9}", (RANGE, 5560, 0, 9, SCOPE)),  # as libzmq's events have it
        (f"{{{MOST},{MOST},{MOST}}}", (RANGE, MOST, MOST, MOST, SCOPE)),
        ("{64,0}", (RANGE, 64, 0, 0, SCOPE)),
        ("<*>", None),
    ],
)
def test_addresses_to_bind(address: str, name: tuple[int, ...] | None) -> None:
    """Services, ranges of instances, and a socket's own, which the system chooses (libzmq.md 3.7; wire.md 8.3)."""
    TIPC.check(address, bind=True)
    assert _parse(address, bind=True).name == name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("{5560,0}", (NAME, 5560, 0, 0)),
        ("{5560, 0}", (NAME, 5560, 0, 0)),
        ("{5560,7}@0.0.0", (NAME, 5560, 7, 0)),
        ("{5560,7}@1.0.0", (NAME, 5560, 7, 0x01000000)),
        ("{5560,7}@1.2.3", (NAME, 5560, 7, 0x01002003)),
        ("{5560,7}@255.4095.4095", (NAME, 5560, 7, MOST)),
        ("<1.1.1:1033307721>", (ID, 0x01001001, 1033307721, 0)),
        (f"<0.0.0:{MOST}>", (ID, 0, MOST, 0)),
    ],
)
def test_addresses_to_connect_to(address: str, name: tuple[int, ...]) -> None:
    """A service, perhaps in a part of the cluster, and a socket's own address."""
    TIPC.check(address, bind=False)
    assert _parse(address, bind=False).name == name


NEITHER = "this is neither a service's address nor a socket's own"
NEITHERS = [
    *(
        "",
        "5560",
        "{}",
        "{5560}",
        "5560,0",
        "{5560,0",
        "{5560,0}junk",
        "x{5560,0}",
        "{5560,0,0,0}",
        "{-1,0}",
        "{5560,+0}",
    ),
    *("{5560,\N{ARABIC-INDIC DIGIT FIVE}}", "{5560,  0}", "{5560 ,0}", "{0x15,0}", "{5560,0}\n", "{12345678901,0}"),
    *(
        "<>",
        "<1.1:5>",
        "<1.1.1>",
        "<1.1.1:*>",
        "<1.1.1:-5>",
        "*",
        "*:*",
        "{5560,0}@1.1",
        "{5560,0}@",
        "{5560,0}@1.1.1.1",
    ),
]


@pytest.mark.parametrize(
    ("address", "bind", "fault"),
    [
        *((text, bind, NEITHER) for text in NEITHERS for bind in (True, False)),
        ("{63,0}", True, "types below 64 are the system's own, and 63 is one"),
        ("{63,0}", False, "types below 64 are the system's own, and 63 is one"),
        ("{5560,4294967296}", True, "numbers have 32 bits, and 4294967296 has more"),
        ("{4294967296,0}", False, "numbers have 32 bits, and 4294967296 has more"),
        ("<1.1.1:4294967296>", False, "numbers have 32 bits, and 4294967296 has more"),
        ("{5560,9,3}", True, "the range ends, at 3, before it begins, at 9"),
        ("{5560,3,9}", False, "a range is for bind, and connect takes one instance of it"),
        ("{5560,3,3}", False, "a range is for bind, and connect takes one instance of it"),
        ("{5560,0}@1.1.1", True, "a domain after '@' is for connect"),
        ("{5560,0}@256.0.0", False, "z.c.n are at most 255, 4095 and 4095"),
        ("{5560,0}@0.4096.0", False, "z.c.n are at most 255, 4095 and 4095"),
        ("<0.0.4096:5>", False, "z.c.n are at most 255, 4095 and 4095"),
        ("<1.2.3:123123>", True, "the system chooses a socket's own address: '<*>'"),
        ("<*>", False, "'<*>' is for bind, and connect needs what was bound"),
    ],
)
def test_wrong_addresses(address: str, bind: bool, fault: str) -> None:
    """The error says what is wrong, and shows addresses that are right: they are."""
    with pytest.raises(trimq.InvalidEndpoint) as caught:
        TIPC.check(address, bind=bind)
    said = str(caught.value)
    assert said.startswith(f"{f'tipc://{address}'!r} is no tipc endpoint: {fault}")
    for right in said.partition("; write ")[2].replace(" or ", ", ").split(", "):
        TIPC.check(right.removeprefix("tipc://"), bind=bind)


@pytest.mark.parametrize(
    ("bound", "dialled"),
    [("{5560,0}", "{5560,0}"), ("{5560,3,9}", "{5560,3}"), ("<1.1.1:5>", "<1.1.1:5>")],
)
def test_dial_address(bound: str, dialled: str) -> None:
    """Of a range, its first instance."""
    assert TIPC.dial_address(bound) == dialled
