"""The contract of a mechanism (`trimq.abc.Mechanism`), as a check that anyone can run on their own. Sans-I/O."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

from .._abc import Handshake, Mechanism
from .._errors import ProtocolError
from .._wire._commands import error, split_untrusted
from .._wire._connection import Connection
from .._wire._frames import MAX_COMMAND
from ._clauses import plain_clause

__all__ = ["check_mechanism"]

_MOST = 100  # commands in a handshake
_CLIENT = {
    "Socket-Type": b"DEALER",
    "Identity": b"me",
    "X-empty": b"",
    "X-bytes": bytes(range(256)),
    "X-long": b"x" * 20000,
}
_SERVER = {"Socket-Type": b"ROUTER", "Identity": b"", "X-name": b"value"}


def check_mechanism(
    make_client: Callable[[], Mechanism], make_server: Callable[[], Mechanism], *, seed: int = 0
) -> None:
    """Checks a security mechanism: that its handshake completes, brings properties unaltered, and fails as promised.

    A plain function, without trio: a handshake does no I/O. What a peer may send in the wrong place is tried at each
    step of the handshake, on both sides: no command, one without a name, unknown names, a refusal, each command
    cut at every byte, changed, sent twice, and left out.

    Args:
      make_client, make_server: make the values for both sides, such that they let each other in.
      seed: for what is random in the commands that are changed.

    Raises:
      AssertionError: a clause of the contract is broken; the message says which.
    """
    client, server = make_client(), make_server()
    _check_names(client, server)
    _check_completes(client, server)
    _check_shape(make_client, make_server)
    _check_apart(client, server)
    for side in (0, 1):
        _check_faults(client, server, side, random.Random(seed))  # noqa: S311 - examples
    with plain_clause("two connections with the mechanism complete, a byte at a time, and carry a message"):
        _check_connection(client, server)


class _Sent(NamedTuple):
    """One command of a handshake."""

    side: int  # who sent it: 0 is the client
    command: bytes


class _Run:
    """A handshake between both sides, one command at a time."""

    def __init__(self, client: Mechanism, server: Mechanism) -> None:
        self.ends: tuple[Handshake, Handshake] = (client.handshake(dict(_CLIENT)), server.handshake(dict(_SERVER)))
        self.sent: list[_Sent] = []
        self.waiting: list[_Sent] = []
        for side in (0, 1):
            self._put(side, self.ends[side].begin())

    def _put(self, side: int, commands: object) -> None:
        assert not isinstance(commands, (bytes, str)), "commands come as a sequence of bodies, not as one"
        for command in cast("Sequence[object]", commands):
            assert isinstance(command, bytes), f"a command is bytes, not {type(command).__name__}"
            assert len(command) <= MAX_COMMAND, f"a command of {len(command)} bytes; peers take {MAX_COMMAND}"
            split_untrusted(command)
            self.sent.append(_Sent(side, command))
            self.waiting.append(_Sent(side, command))

    @property
    def done(self) -> bool:
        return all(end.peer_metadata is not None for end in self.ends)

    def step(self) -> _Sent:
        """Delivers the next command; returns it."""
        delivered = self.waiting.pop(0)
        side = 1 - delivered.side
        self._put(side, self.ends[side].receive_untrusted(delivered.command))
        return delivered

    def finish(self) -> None:
        """Delivers all that there is."""
        while self.waiting:
            self.step()
            assert len(self.sent) <= _MOST, f"it is not complete after {_MOST} commands"


def _check_names(client: Mechanism, server: Mechanism) -> None:
    with plain_clause("both sides have one name, of 1 to 20 upper-case ASCII characters (RFC 23)"):
        name = client.name
        assert name == server.name, f"{name!r} and {server.name!r}"
        assert re.fullmatch("[A-Z0-9_.+-]{1,20}", name), repr(name)
    with plain_clause("as_server is a bool, and True on one side at most"):
        assert all(isinstance(side.as_server, bool) for side in (client, server))
        assert not client.as_server, "the client says that it is the server"


def _check_completes(client: Mechanism, server: Mechanism) -> None:
    with plain_clause("the handshake completes on both sides"):
        given = dict(_CLIENT)
        client.handshake(given)
        assert given == _CLIENT, "the properties that it was given were changed"
        run = _Run(client, server)
        assert all(end.peer_metadata is None for end in run.ends), "peer_metadata is not None before it has begun"
        run.finish()
        assert run.done, "all commands are through, and peer_metadata is None"
    with plain_clause("each side has the other's properties unaltered"):
        for end, properties in zip(run.ends, (_SERVER, _CLIENT), strict=True):
            assert end.peer_metadata is not None
            got = {name.lower(): value for name, value in end.peer_metadata.items()}
            for name, value in properties.items():
                have = got.pop(name.lower(), None)
                assert have == value, f"{name} is {have!r:.40}, not {value!r:.40}"
            assert not got, f"properties that nobody announced: {', '.join(got)}"
    with plain_clause("user_id is a str or None"):
        assert all(end.user_id is None or isinstance(end.user_id, str) for end in run.ends)


def _shape(client: Mechanism, server: Mechanism) -> list[tuple[int, bytes, int]]:
    run = _Run(client, server)
    run.finish()
    return [(sent.side, split_untrusted(sent.command)[0], len(sent.command)) for sent in run.sent]


def _check_shape(make_client: Callable[[], Mechanism], make_server: Callable[[], Mechanism]) -> None:
    with plain_clause("handshakes with the same properties are alike: the same commands, of the same sizes"):
        shapes = [_shape(make_client(), make_server()) for _ in range(3)]
        assert shapes[0] == shapes[1] == shapes[2], f"{shapes[0]} and {shapes[1]} and {shapes[2]}"


def _check_apart(client: Mechanism, server: Mechanism) -> None:
    with plain_clause("a mechanism makes any number of handshakes, which know nothing of each other"):
        one, other = _Run(client, server), _Run(client, server)
        while one.waiting or other.waiting:
            for run in (one, other):
                if run.waiting:
                    run.step()
                assert len(run.sent) <= _MOST, "it is not complete"
        assert all((one.done, other.done)), "one of two that went on at the same time is not complete"


def _check_faults(client: Mechanism, server: Mechanism, side: int, chance: random.Random) -> None:
    """What may go wrong at each command that comes to this side."""
    name = ("client", "server")[side]
    whole = _Run(client, server)
    whole.finish()
    announced = (_SERVER, _CLIENT)[side]
    for number in range(sum(sent.side != side for sent in whole.sent)):
        for what, must, alter in _faults(chance):
            with plain_clause(f"{what} as command {number + 1} to the {name} is a ProtocolError, and nothing else"):
                run = _up_to(client, server, side, number)
                _try(run.ends[side], alter(run.waiting[0].command), announced, must=must)
        with plain_clause(f"command {number + 1} to the {name} a second time is a ProtocolError"):
            run = _up_to(client, server, side, number)
            again = run.step().command
            _try(run.ends[side], again, announced, must=True)
        with plain_clause(
            f"command {number + 2} to the {name} in the place of command {number + 1} is a ProtocolError"
        ):
            later = [sent.command for sent in whole.sent if sent.side != side][number + 1 :]
            if later:
                run = _up_to(client, server, side, number)
                _try(run.ends[side], later[0], announced, must=True)


_Fault = tuple[str, bool, Callable[[bytes], bytes]]


def _faults(chance: random.Random) -> Iterator[_Fault]:
    yield "an empty command", True, lambda command: b""
    yield "a command without a name", True, lambda command: b"\0"
    yield "a name longer than the command", True, lambda command: b"\x20READY"
    yield "an unknown command", True, lambda command: b"\x07TRIMQ-X" + command[1 + command[0] :]
    yield "a name in lower case", True, lambda command: command[: 1 + command[0]].lower() + command[1 + command[0] :]
    yield "a refusal (ERROR)", True, lambda command: error("no")
    yield "a malformed ERROR", True, lambda command: b"\x05ERROR\xffno"
    # A cut may leave a whole command, as READY with a property less; cut in its name it never does.
    for share in range(33):
        yield f"the command cut to {share} of 33 parts", False, partial(_cut, share)
    for few in range(1, 7):
        yield f"the command without its last {few} bytes", False, partial(_without, few)
        yield f"the command's first {few} bytes", True, partial(_first, few)
        yield f"the command and {few} bytes more", False, partial(_longer, few)
    for _ in range(50):
        yield "the command with a byte changed", False, partial(_changed, chance)
    for _ in range(20):
        yield "random bytes", False, lambda command: chance.randbytes(chance.randrange(1, 80))


def _cut(share: int, command: bytes) -> bytes:
    return command[: len(command) * share // 33]


def _without(count: int, command: bytes) -> bytes:
    return command[:-count]


def _first(count: int, command: bytes) -> bytes:
    return command[: min(count, command[0])]  # never the whole name


def _longer(count: int, command: bytes) -> bytes:
    return command + b"\xff" * count


def _changed(chance: random.Random, command: bytes) -> bytes:
    at = chance.randrange(min(len(command), 400))
    return command[:at] + bytes([command[at] ^ chance.randrange(1, 256)]) + command[at + 1 :]


def _up_to(client: Mechanism, server: Mechanism, side: int, number: int) -> _Run:
    """A handshake in which so many commands have come to this side, and the next one is due."""
    run = _Run(client, server)
    while run.waiting[0].side == side or number:
        number -= run.step().side != side
    return run


def _try(end: Handshake, command: bytes, announced: Mapping[str, bytes], *, must: bool) -> None:
    was = end.peer_metadata
    try:
        end.receive_untrusted(command)
    except ProtocolError:
        assert end.peer_metadata == was, f"{command[:20]!r} was refused, and completed the handshake"
        return
    except Exception as failure:
        raise AssertionError(f"{command[:20]!r} raises {type(failure).__name__}: {failure}") from failure
    assert not must, f"{command[:20]!r} was accepted"


def _check_connection(client: Mechanism, server: Mechanism) -> None:
    ends = [
        Connection(socket_type=ours, accepts=frozenset({theirs}), mechanism=mechanism, identity=b"", publishes=False)
        for ours, theirs, mechanism in (("DEALER", "ROUTER", client), ("ROUTER", "DEALER", server))
    ]
    ways = [bytearray(end.begin()) for end in ends]  # what each has sent and the other has not read
    while ways[0] or ways[1]:
        for side, end in enumerate(ends):
            if ways[1 - side]:
                byte = bytes(ways[1 - side][:1])
                del ways[1 - side][:1]
                if end.peer is None:
                    ways[side] += end.handshake_untrusted(byte)
                else:
                    end.feed(byte)
    for end in ends:
        assert end.peer is not None, "the bytes are through, and the peer is not known"
        assert end.peer.mechanism == client.name
    for one, other in (ends, ends[::-1]):
        for buffer in one.encode([[b"head", b"body"], b"x"]):
            other.feed(buffer)
        got = other.decode_untrusted(10)
        assert got == [[b"head", b"body"], b"x"], f"{got!r} arrived"
