"""A connection from greeting to traffic: what is announced, what is learned of the peer, which dialect it gets."""

from __future__ import annotations

import attrs
import pytest
from wire.helpers import DEALER, G, R, command, connection, feed_all, frame, greeting, prop, ready, three_ways

from trimq._abc import Handshake, Mechanism
from trimq._errors import ProtocolError
from trimq._mechanisms._null import Null
from trimq._message import Subscription
from trimq._wire._connection import Connection


def test_two_of_them_talk() -> None:
    """Both sides symmetric, READY at once on both (wire.md 1.6); then messages both ways."""
    pull = connection("PULL", ["PUSH"])
    push = connection("PUSH", ["PULL"], max_message_size=5)
    to_push, to_pull = pull.begin(), push.begin()
    for _ in range(4):
        to_pull, to_push = push.handshake_untrusted(to_push), pull.handshake_untrusted(to_pull)
    assert (to_pull, to_push) == (b"", b"")
    assert pull.peer is not None
    assert push.peer is not None
    assert (pull.peer.socket_type, push.peer.socket_type) == ("PUSH", "PULL")
    for buffer in push.encode([b"one", [b"two", b"three"]]):
        pull.feed(buffer)
    assert pull.decode_untrusted(10) == [b"one", [b"two", b"three"]]


def test_what_is_announced() -> None:
    """wire.md 1.5: Socket-Type, Identity only for those who have one (empty ones too), then the rest."""

    def sent(identity: bytes | None) -> bytes:
        wire = Connection(
            socket_type="DEALER",
            accepts=frozenset({"DEALER"}),
            mechanism=Null(),
            identity=identity,
            metadata={"X-app": b"1"},
            publishes=False,
        )
        return feed_all(wire, [G + R]).sent

    app = prop(b"X-app", b"1")
    assert sent(None) == greeting() + ready(DEALER, app)
    assert sent(b"") == greeting() + ready(DEALER, prop(b"Identity", b""), app)
    signature = bytes.fromhex("FF 0000000000000004 7F")
    assert sent(b"abc") == greeting(signature=signature) + ready(DEALER, prop(b"Identity", b"abc"), app)


def test_what_is_learned() -> None:
    """PeerInfo: socket type and identity in their places, the rest as metadata, looked up in any case."""
    outcome = three_ways(
        connection, G + ready(prop(b"SOCKET-TYPE", b"REQ"), prop(b"identity", b"me"), prop(b"X-App", b"1"))
    )
    peer = outcome.peer
    assert peer is not None
    assert (peer.socket_type, peer.identity, peer.address, peer.mechanism) == ("REQ", b"me", "", "NULL")
    assert dict(peer.metadata) == {"X-App": b"1"}
    assert peer.metadata["x-app"] == b"1"


def test_it_waits_for_ready() -> None:
    """Trap 2: `peer` is None, which is the link's sign to send nothing, until READY is whole."""
    wire = connection()
    wire.begin()
    wire.handshake_untrusted(G + R[:-1])
    assert wire.peer is None
    assert wire.handshake_untrusted(R[-1:]) == b""
    assert wire.peer is not None
    assert wire.take_reply() == b""


@pytest.mark.parametrize(
    ("their_greeting", "subscribed", "cancelled"),
    [
        (greeting(minor=0), frame(b"\x01a"), frame(b"\x00a")),
        (greeting(minor=1), command(b"SUBSCRIBE", b"a"), command(b"CANCEL", b"a")),
        (greeting(minor=2), command(b"SUBSCRIBE", b"a"), command(b"CANCEL", b"a")),
    ],
)
def test_the_dialect_of_subscriptions(their_greeting, subscribed, cancelled) -> None:
    """wire.md 1.2: 3.0 peers get messages, 3.1 peers commands, in order with messages."""
    wire = connection("XSUB", ["XPUB"])
    feed_all(wire, [their_greeting + ready(prop(b"Socket-Type", b"XPUB"))])
    sent = wire.encode([Subscription(b"a", True), b"m", Subscription(b"a", False)])
    assert sent == [subscribed + frame(b"m") + cancelled]


@pytest.mark.parametrize("minor", [0, 1])
def test_both_forms_of_subscriptions_from_any_peer(minor) -> None:
    """Trap 8: commands become subscriptions and the old form stays a message, whatever the peer's dialect."""
    outcome = three_ways(
        lambda: connection("XPUB", ["SUB"], publishes=True),
        greeting(minor=minor)
        + ready(prop(b"Socket-Type", b"SUB"))
        + command(b"SUBSCRIBE", b"a")
        + frame(b"\x01b")
        + command(b"CANCEL", b"a")
        + command(b"SUBSCRIBE"),
    )
    assert outcome.error is None
    assert outcome.items == [
        Subscription(b"a", True),
        b"\x01b",
        Subscription(b"a", False),
        Subscription(b"", True),
    ]


@pytest.mark.parametrize(("minor", "heartbeats"), [(0, False), (1, True), (2, True)])
def test_heartbeats_came_with_3_1(minor, heartbeats) -> None:
    """RFC 37. Who asks for a PING gets one for an older peer, too, as libzmq sends it."""
    wire = connection()
    assert not wire.heartbeats
    feed_all(wire, [greeting(minor=minor) + R])
    assert wire.heartbeats is heartbeats
    assert wire.ping() == command(b"PING", b"\0\0")
    assert wire.ping(3.0, b"me") == command(b"PING", b"\0\x1eme")


def test_what_the_peers_pings_say() -> None:
    """That it sends them, and the TTL of its latest; a PONG is no PING."""
    wire = connection()
    feed_all(wire, [G + R + command(b"PONG", b"\0\x1e")])
    assert (wire.peer_pings, wire.peer_ttl) == (False, 0.0)
    pings = [command(b"PING", b"\0\x1e"), command(b"PING", b"\0\x32context"), command(b"PING", b"\0\0")]
    for ping, ttl in zip(pings, (3.0, 5.0, 0.0), strict=True):
        wire.feed(ping)
        assert wire.decode_untrusted(1) == []
        assert (wire.peer_pings, wire.peer_ttl) == (True, ttl)


def test_pongs_are_reported() -> None:
    """Each with its context, in their order, where somebody wants to know; else they mean nothing."""
    wire = connection()
    feed_all(wire, [G + R + command(b"PONG", b"before")])
    contexts: list[bytes] = []
    wire.on_pong = contexts.append
    wire.feed(command(b"PONG", b"one") + frame(b"message") + command(b"PONG") + command(b"PONG", b"x" * 300))
    assert wire.decode_untrusted(10) == [b"message"]
    assert contexts == [b"one", b"", b"x" * 300]


def test_a_refusal_names_its_reason() -> None:
    """RFC 37: ERROR in the handshake; the message is for whoever reads Endpoint.ready()'s exception."""
    outcome = three_ways(connection, G + command(b"ERROR", b"\x0cwrong number"))
    assert outcome.error == "the peer refused the connection: wrong number"


def test_an_error_stays() -> None:
    """A connection that failed does not come back to life, and does not answer twice."""
    wire = connection()
    wire.begin()
    with pytest.raises(ProtocolError) as caught:
        wire.handshake_untrusted(G + ready(prop(b"Socket-Type", b"PUB")))
    assert caught.value.reply
    with pytest.raises(ProtocolError) as caught:
        wire.handshake_untrusted(R)
    assert caught.value.reply == b""
    assert wire.peer is None


# A mechanism of another making: several commands each way, with an answer on the way to a failure.


class _KnockHandshake(Handshake):
    def __init__(self) -> None:
        self._metadata: dict[str, bytes] | None = None

    def begin(self) -> list[bytes]:
        return []

    def receive_untrusted(self, command: bytes) -> list[bytes]:
        if command == b"\x05KNOCK":
            return [b"\x03WHO", b"\x02IS"]
        if command != b"\x02IT":
            raise ProtocolError("go away", reply=b"bye")
        self._metadata = {"Socket-Type": b"DEALER"}
        return [b"\x04COME"]

    @property
    def peer_metadata(self) -> dict[str, bytes] | None:
        return self._metadata

    @property
    def user_id(self) -> str | None:
        return "somebody"


@attrs.frozen
class _Knock(Mechanism):
    name = "KNOCK"
    as_server = True

    def handshake(self, properties: object) -> Handshake:
        return _KnockHandshake()


def knock() -> Connection:
    return Connection(
        socket_type="ROUTER", accepts=frozenset({"DEALER"}), mechanism=_Knock(), identity=None, publishes=False
    )


def test_any_mechanism_of_commands() -> None:
    """The contract of Mechanism and Handshake: all answers go out framed, in order; the user id is the mechanism's."""
    outcome = three_ways(knock, greeting(b"KNOCK") + command(b"KNOCK") + command(b"IT"))
    assert outcome.sent == greeting(b"KNOCK", as_server=1) + command(b"WHO") + command(b"IS") + command(b"COME")
    assert outcome.peer is not None
    assert outcome.peer.mechanism == "KNOCK"
    assert outcome.peer.user_id == "somebody"


def test_what_was_answered_before_a_failure_is_sent() -> None:
    """The contract of ProtocolError: `reply` is all that the peer should still get, in order."""
    outcome = three_ways(knock, greeting(b"KNOCK") + command(b"KNOCK") + command(b"THAT"))
    assert outcome.error == "go away"
    assert outcome.sent == greeting(b"KNOCK", as_server=1) + command(b"WHO") + command(b"IS") + b"bye"
