"""Who gets what, and who is heard when: the orders of libzmq.md 1.3, observed exactly, in trimq and in libzmq.

A scenario is a list of steps that either can carry out; what is expected is written by hand from the sheet, and the same for
both, but for one difference that is on purpose. libzmq does its part in orders.py, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
import trio
from interop.harness import KINDS
from sockets.helpers import jumping, opened, settle

Steps = list[list[Any]]


@attrs.frozen
class Scenario:
    """Something to carry out, and what is received in each ``take``."""

    steps: Steps
    expected: list[str]
    libzmq: list[str] | None = None
    """What libzmq does, if that is something else."""


class Balanced(NamedTuple):
    """A type that sends round-robin, and one that it sends to."""

    sender: str
    receiver: str


BALANCED = [Balanced("PUSH", "PULL"), Balanced("DEALER", "DEALER")]
HEARD = {"PULL": "PUSH", "DEALER": "DEALER", "ROUTER": "DEALER", "SUB": "PUB", "XSUB": "PUB"}


def sender(pair: Balanced, receivers: str, **options: int) -> Steps:
    """One socket, ``s``, that is bound, and several that connect to it in this order."""
    steps = bound(pair.sender, **options)
    for name in receivers:
        steps += join(pair.receiver, name, **options)
    return steps


def bound(kind: str, **options: Any) -> Steps:
    """The socket ``s``, bound."""
    return [["socket", "s", kind, options], ["bind", "s", "place"]]


def join(kind: str, name: str, **options: Any) -> Steps:
    """A socket that connects."""
    return [["socket", name, kind, options], ["connect", name, "place"]]


def send(numbers: str, name: str = "s") -> Steps:
    """Messages of one letter each."""
    return [["send", name, number] for number in numbers]


def take(names: str) -> Steps:
    """All that each of these has."""
    return [["take", name, 100] for name in names]


def balanced(pair: Balanced) -> Iterator[tuple[str, Scenario]]:
    """Round-robin: 1.3, lb."""
    yield (
        "in the order in which they came",
        Scenario(sender(pair, "abc") + send("1234567") + take("abc"), ["1 4 7", "2 5", "3 6"]),
    )
    yield (
        "who joins stands at the end of the line, wherever the turn is",
        # after 3 it is b's turn
        Scenario(
            sender(pair, "ab") + send("123") + join(pair.receiver, "c") + send("456789") + take("abc"),
            ["1 3 6 9", "2 4 7", "5 8"],
        ),
    )
    yield (
        "who leaves gives its place to the last, whose turn it is",
        # a b c d, b's turn; b leaves: a d c, d's turn
        Scenario(
            sender(pair, "abcd") + send("1") + [["disconnect", "b", "place"]] + send("234567") + take("acd"),
            ["1 4 7", "3 6", "2 5"],
        ),
    )
    yield (
        "who leaves before the turn gives its place to the last, too",
        # a b c d, c's turn; a leaves: d b c, c's turn
        # (a Dealer's peer is gone at once here, in libzmq when it receives and finds the end of what came, or on its turn)
        Scenario(
            sender(pair, "abcd")
            + send("12")
            + [["disconnect", "a", "place"]]
            + take("s" if pair.sender == "DEALER" else "")
            + send("345678")
            + take("bcd"),
            [""] * (pair.sender == "DEALER") + ["2 5 8", "3 6", "4 7"],
        ),
    )
    yield (
        "if the last leaves when it is its turn, the first is next",
        Scenario(
            sender(pair, "abc") + send("12") + [["disconnect", "c", "place"]] + send("345") + take("ab"),
            ["1 3 5", "2 4"],
        ),
    )
    yield (
        "who leaves while it is full is not missed",
        # a is full; when it would be its turn, c takes its place: c b
        Scenario(
            sender(pair, "abc", SNDHWM=1, RCVHWM=1)
            + send("1234")
            + take("bc")
            + send("567")
            + [["disconnect", "a", "place"]]
            + take("bc")
            + send("89")
            + take("bc"),
            ["2", "3", "5", "6 7", "8", "9"],
        ),
    )
    marks = {"SNDHWM": 1, "RCVHWM": 1}  # two messages between two sockets of a process
    yield (
        "who is full gives its place to the last, and comes back at the end",
        Scenario(
            sender(pair, "abc", **marks)
            + send("1234")  # a has 1 and 4, and is full
            + take("bc")
            + send("5678")  # 5 to b, 6 to c; a is found full: c b, so 7 to c, 8 to b
            + take("bc")
            + [["take", "a", 1]]  # a is back: c b a, c's turn
            + send("9xyz")  # c, b, a, c
            + take("abc"),
            ["2", "3", "5 8", "6 7", "1", "4 y", "x", "9 z"],
        ),
    )
    yield (
        "who is full comes back when half of it has been read",
        Scenario(
            sender(pair, "ab", SNDHWM=2, RCVHWM=2)
            + send("12345678")
            + [["full", "s"], ["take", "a", 1], ["full", "s"], ["take", "a", 1]]
            + send("9x")
            + [["full", "s"]]
            + take("ab"),
            ["1", "3", "5 7 9 x", "2 4 6 8"],
        ),
    )
    yield (
        "if all are full, the first one that has room is the next",
        Scenario(
            sender(pair, "abc", **marks)
            + send("123456")
            + [["full", "s"]]
            + [["take", "c", 1], ["take", "a", 1]]
            + send("78")  # c, a
            + [["full", "s"]]
            + take("abc"),
            ["3", "1", "4 8", "2 5", "6 7"],
        ),
    )
    yield (
        "a message of several frames is one turn",
        Scenario(
            [
                *sender(pair, "ab"),
                ["send", "s", "1", "x"],
                ["send", "s", "2", "", "y"],
                ["send", "s", "3"],
                *take("ab"),
            ],
            ["1 x 3", "2  y"],
        ),
    )


def hearer(kind: str, names: str) -> Steps:
    """One socket, ``s``, that is bound, and several that connect to it in this order, and that it wants to hear."""
    steps = bound(kind, **({"SUBSCRIBE": ""} if kind == "SUB" else {}))
    if kind == "XSUB":
        steps.append(["send", "s", "\1"])
    for name in names:
        steps += join(HEARD[kind], name, **({"ROUTING_ID": name} if kind == "ROUTER" else {}))
    return steps


def says(*messages: str) -> Steps:
    """Each is sent by the socket that its first letter names."""
    return [["send", message[0], message] for message in messages]


def heard(kind: str, *messages: str) -> str:
    """What is received then: a Router puts the name first."""
    return " ".join(f"{message[0]} {message}" if kind == "ROUTER" else message for message in messages)


def fair(kind: str) -> Iterator[tuple[str, Scenario]]:
    """Fair queueing: 1.3, fq."""
    yield (
        "one of each in turn",
        Scenario(
            hearer(kind, "abc") + says("a1", "b1", "c1", "a2", "c2", "a3") + take("s"),
            [heard(kind, "a1", "b1", "c1", "a2", "c2", "a3")],
        ),
    )
    four = says("a1", "b1", "c1", "d1", "a2", "c2", "d2", "a3", "c3", "d3")
    yield (
        "who has nothing gives its place to the last",
        # b has one: after a2 it is its turn, and d takes its place
        Scenario(
            hearer(kind, "abcd") + four + take("s"),
            [heard(kind, "a1", "b1", "c1", "d1", "a2", "d2", "c2", "a3", "d3", "c3")],
        ),
    )
    yield (
        "who has something again comes back at the end",
        # a d c, c's turn; b comes: a d c b
        Scenario(
            hearer(kind, "abcd") + four + [["take", "s", 6]] + says("b2") + take("s"),
            [heard(kind, "a1", "b1", "c1", "d1", "a2", "d2"), heard(kind, "c2", "b2", "a3", "d3", "c3")],
        ),
    )
    late: Steps = join(HEARD[kind], "e", **({"ROUTING_ID": "e"} if kind == "ROUTER" else {}))
    yield (
        "who joins stands at the end of the line, wherever the turn is",
        # a b, b's turn; e comes: a b e
        Scenario(
            hearer(kind, "ab")
            + says("a1", "b1", "a2", "b2", "a3", "b3")
            + [["take", "s", 3]]
            + late
            + says("e1", "e2")
            + take("s"),
            [heard(kind, "a1", "b1", "a2"), heard(kind, "b2", "e1", "a3", "b3", "e2")],
        ),
    )
    yield (
        "who has left is heard to the end, in its turn, and then gives its place to the last",
        # a has a1 and a2; then d is in its place
        Scenario(
            hearer(kind, "abcd")
            + says("a1", "b1", "c1", "d1", "a2", "b2", "c2", "d2", "b3", "c3", "d3")
            + [["disconnect", "a", "place"]]
            + take("s"),
            [heard(kind, "a1", "b1", "c1", "d1", "a2", "b2", "c2", "d2", "d3", "b3", "c3")],
        ),
    )
    yield (
        "of those that were never heard, the first that has something",
        # libzmq: the first that has connected (docs/explanation/differences.rst)
        Scenario(
            hearer(kind, "abc") + says("c1", "b1", "a1", "c2", "a2") + take("s"),
            [heard(kind, "c1", "b1", "a1", "c2", "a2")],
            libzmq=[heard(kind, "a1", "b1", "c1", "a2", "c2")],
        ),
    )


def others() -> Iterator[tuple[str, Scenario]]:
    """Distribution, and what is like nothing else."""
    marks = {"SNDHWM": 1, "RCVHWM": 1}
    yield (
        "PUB: who is full misses the whole message, and takes part again when it has room",
        Scenario(
            bound("PUB", **marks)
            + [step for name in "ab" for step in join("SUB", name, SUBSCRIBE="", **marks)]
            + [["send", "s", "1", "x"], ["send", "s", "2", "x"], ["send", "s", "3", "x"], ["take", "b", 1]]
            + [["send", "s", "4", "x"], ["take", "a", 1], ["send", "s", "5", "x"]]
            + take("ab"),
            ["1 x", "1 x", "2 x 5 x", "2 x 4 x"],
        ),
    )
    yield (
        "XPUB: in the order in which it came",
        Scenario(
            bound("XPUB") + join("XSUB", "a") + join("XSUB", "b") + says("a1", "a2", "b1", "a3", "b2") + take("s"),
            ["a1 a2 b1 a3 b2"],
        ),
    )
    yield (
        "XSUB: to all, in one order",
        Scenario(
            bound("XSUB") + join("XPUB", "a") + send("123") + join("XPUB", "b") + send("456") + take("ab"),
            ["1 2 3 4 5 6", "4 5 6"],
        ),
    )
    asked = bound("REQ")
    for name in "abc":
        asked += join("REP", name)
    for number in range(1, 6):
        name = "abc"[(number - 1) % 3]
        asked += [["send", "s", str(number)], ["take", name, 1], ["send", name, "ok"], ["take", "s", 1]]
    yield "REQ: each request to the next", Scenario(asked, ["1", "ok", "2", "ok", "3", "ok", "4", "ok", "5", "ok"])
    replies = bound("REP")
    for name in "abc":
        replies += join("DEALER", name)
    for message in ("a1", "a2", "b1", "c1", "c2"):
        replies.append(["send", message[0], "", message])
    for _ in range(5):
        replies += [["take", "s", 1], ["send", "s", "ok"]]
    yield (
        "REP: one of each in turn",
        Scenario(replies + take("abc"), ["a1", "b1", "c1", "a2", "c2", " ok  ok", " ok", " ok  ok"]),
    )


SCENARIOS = {
    **{f"{pair.sender}: {name}": scenario for pair in BALANCED for name, scenario in balanced(pair)},
    **{f"{kind}: {name}": scenario for kind in HEARD for name, scenario in fair(kind)},
    **dict(others()),
}
scenarios = pytest.mark.parametrize("name", SCENARIOS)

OPTIONS = {"SNDHWM": "send_hwm", "RCVHWM": "receive_hwm", "ROUTING_ID": "routing_id"}


@pytest.fixture(scope="module")
def of_libzmq() -> dict[str, list[str]]:
    """What libzmq does in each scenario."""
    if find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("orders.py"))],
        input=json.dumps([scenario.steps for scenario in SCENARIOS.values()]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    results = [[" ".join(messages) for messages in taken] for taken in json.loads(done.stdout)]
    return dict(zip(SCENARIOS, results, strict=True))


async def carry_out(steps: Steps, transport: str) -> list[str]:
    """What trimq does."""
    heard: list[str] = []
    async with opened() as ctx:
        sockets: dict[str, Any] = {}
        for verb, name, *arguments in steps:
            if verb == "socket":
                kind, options = arguments
                socket = sockets[name] = ctx.socket(KINDS[kind])
                for option, value in options.items():
                    if option == "SUBSCRIBE":
                        socket.subscribe(value.encode())
                    else:
                        setattr(socket, OPTIONS[option], value.encode() if isinstance(value, str) else value)
            elif verb in ("bind", "connect", "disconnect"):
                getattr(sockets[name], verb)(transport + arguments[0] + ":1" * transport.startswith("tcp"))
            elif verb == "send":
                sockets[name].send_nowait([frame.encode() for frame in arguments])
            elif verb == "full":
                with pytest.raises(trio.WouldBlock):
                    sockets[name].send_nowait(b"one too many")
            else:
                taken: list[str] = []
                while len(taken) < arguments[0]:
                    try:
                        message = sockets[name].receive_nowait()
                    except trio.WouldBlock:
                        break
                    taken.append(" ".join(frame.decode() for frame in message))
                heard.append(" ".join(taken))
            await settle()
    return heard


@jumping
@scenarios
async def test_order(name: str) -> None:
    """libzmq.md 1.3, as the scenario's name says, between sockets of one context."""
    scenario = SCENARIOS[name]
    assert await carry_out(scenario.steps, "inproc://") == scenario.expected


@jumping
@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if "RCVHWM" not in str(scenario.steps)])
async def test_order_over_a_network(name: str) -> None:
    """The same over connections; where high-water marks decide, a network's own buffers would have a say, too."""
    scenario = SCENARIOS[name]
    assert await carry_out(scenario.steps, "tcp://") == scenario.expected


@pytest.mark.pyzmq
@scenarios
def test_order_of_libzmq(name: str, of_libzmq: dict[str, list[str]]) -> None:
    """What is expected is what libzmq does, but where a difference is on purpose."""
    scenario = SCENARIOS[name]
    assert of_libzmq[name] == (scenario.libzmq or scenario.expected)
