"""Options: typed, validated, named; nothing silently ignored (design 1, Options; libzmq.md 2)."""

from __future__ import annotations

import math
from typing import Any, get_type_hints

import pytest
from sockets.helpers import jumping, opened
from trio.testing import wait_all_tasks_blocked

import trimq
from trimq._options import AnyOptions, Option, Settings, SocketOptions
from trimq._sockets import ALL_TYPES
from trimq._zmq_options import CONTEXT, NO_SOCKET, SOCKET
from trimq.testing import MemoryTransport

kinds = pytest.mark.parametrize("kind", ALL_TYPES, ids=lambda kind: kind.__name__)
BOOLEANS = ("ipv6", "tcp_keepalive", "immediate")
HIGH_WATER_MARKS = ("send_hwm", "receive_hwm")
TIMES = ("linger",)
INTERVALS = ("reconnect_interval", "reconnect_interval_max")


def options_of(kind: type[trimq.Socket]) -> set[str]:
    return {name for name in dir(kind) if isinstance(getattr(kind, name, None), Option)}


# Names


@kinds
def test_every_declared_option_is_there(kind: type[trimq.Socket]) -> None:
    """What type checkers allow (the TypedDict) and what there is (the descriptors) are the same."""
    hints = get_type_hints(kind.__init__, include_extras=False)
    declared = set(hints["options"].__args__[0].__annotations__) if "options" in hints else set()
    assert declared | set(SocketOptions.__annotations__) >= options_of(kind)
    assert declared <= options_of(kind)


def test_context_knows_all_options() -> None:
    """open_context takes what some socket has, and nothing else."""
    every = set().union(*(options_of(kind) for kind in ALL_TYPES))
    assert set(get_type_hints(AnyOptions)) == every


OWN = {"send_hwm_bytes", "receive_hwm_bytes", "max_connections", "max_handshakes", "give_up_after", "ipc_mode", "mute"}


@kinds
def test_every_option_says_what_it_does(kind: type[trimq.Socket]) -> None:
    """Each documents itself and names libzmq's option, unless it is trimq's own idea."""
    for name in options_of(kind):
        option = getattr(kind, name)
        assert option.__doc__, name
        zmq = [word for word, known in SOCKET.items() if known == name]
        assert len(zmq) == (name not in OWN), name
        assert all(f"ZMQ_{word}" in option.__doc__ for word in zmq), name
        assert option.name == name


def test_settings_have_the_sockets_defaults() -> None:
    """What a connection takes along is, by default, what a new socket would say."""
    defaults = Settings()
    for name in Settings.__annotations__.keys() - {"libzmq", "identity"}:
        owner = trimq.Socket if hasattr(trimq.Socket, name) else trimq.Pub  # those for multicast
        assert getattr(defaults, name) == getattr(owner, name).default, name


OTHERS: dict[str, Any] = {
    "mute": "drop_old",
    "metadata": {"X-Name": b"value"},
    "reconnect_stop": {"refused"},
    "tcp_accept_filter": ("10.0.0.0/8",),
    "bind_to_device": "lo",
    **{key: {7} for key in ("ipc_filter_pid", "ipc_filter_uid", "ipc_filter_gid")},
    **dict.fromkeys(["heartbeat_timeout", "tcp_keepalive_idle", "tcp_keepalive_interval", "tcp_user_timeout"], 7.0),
    **dict.fromkeys(["send_buffer", "receive_buffer", "tcp_keepalive_count", "ipc_mode", "tos", "priority"], 7),
    **dict.fromkeys(["vmci_buffer_size", "vmci_buffer_min_size", "vmci_buffer_max_size"], 7),
    **dict.fromkeys(["busy_poll", "vmci_connect_timeout"], 7.0),
    "multicast_maxtpdu": 700,
    "notify_peers": {"connect"},
}


@jumping
@kinds
async def test_options_can_be_given_read_and_set(kind: type[trimq.Socket]) -> None:
    """Keyword arguments and attributes are the same thing, for every option of every type."""
    async with opened() as ctx:
        for name in sorted(options_of(kind)):
            default = getattr(kind, name).default
            other: Any = OTHERS.get(name) or {bool: not default, float: 7, int: 7, bytes: b"seven"}[type(default)]
            socket = ctx.socket(kind, **{name: other})
            assert getattr(socket, name) == other
            setattr(socket, name, default)
            assert getattr(socket, name) == default
            assert getattr(ctx.socket(kind), name) == (0 if name == "linger" else default)  # opened() has linger=0


@jumping
async def test_defaults() -> None:
    """libzmq's defaults, but for what design 2 lists: marks 1000, linger for ever, and 0 for Sub, XSub and Dish (1.4)."""
    async with trimq.open_context() as ctx:
        push = ctx.socket(trimq.Push)
        assert (push.send_hwm, push.receive_hwm) == (1000, 1000)
        assert (push.linger, push.max_message_size, push.connect_timeout) == (math.inf, math.inf, math.inf)
        assert (push.ipv6, push.tcp_keepalive, push.immediate) == (True, True, False)
        assert (push.backlog, push.handshake_timeout, push.reconnect_interval) == (100, 30, 0.1)
        for kind in ALL_TYPES:
            assert ctx.socket(kind).linger == (0 if kind in (trimq.Sub, trimq.XSub, trimq.Dish) else math.inf)


@jumping
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("send_hmw", "did you mean send_hwm?"),
        ("sndhwm", "libzmq's ZMQ_SNDHWM is called send_hwm in trimq"),
        ("ZMQ_IDENTITY", "libzmq's ZMQ_ROUTING_ID is called routing_id in trimq, and is not for this type"),
        ("rcvtimeo", "ZMQ_RCVTIMEO is no option in trimq: use a cancel scope"),
        ("io_threads", "ZMQ_IO_THREADS is no option in trimq: trimq has no threads"),
        ("lingr", "did you mean linger?"),
        ("routing_id", "Push has no option routing_id"),
        ("bind", "Push has no option bind"),
        ("send", "Push has no option send"),
        ("_options", "Push has no option _options"),
        ("zzz", "there are backlog, bind_to_device"),
    ],
)
async def test_a_wrong_name(name: str, hint: str) -> None:
    """TypeError with a suggestion, or the list; a failed socket is none of the context's."""
    async with opened() as ctx:
        with pytest.raises(TypeError) as caught:
            ctx.socket(trimq.Push, **{name: 1})  # type: ignore[arg-type]
        assert hint in str(caught.value)
        assert "0 sockets" in repr(ctx)


@jumping
@kinds
async def test_types_refuse_the_options_of_others(kind: type[trimq.Socket]) -> None:
    """No option is accepted and ignored."""
    every = set().union(*(options_of(kind) for kind in ALL_TYPES))
    async with opened() as ctx:
        for name in sorted(every - options_of(kind)):
            with pytest.raises(TypeError, match=f"has no option {name}"):
                ctx.socket(kind, **{name: True})


# Context defaults


@jumping
async def test_context_defaults() -> None:
    """They hold for the types that have them, are skipped where a type lacks them; a socket's own come first."""
    async with trimq.open_context(linger=2, routing_id=b"x", mandatory=True, send_hwm=5) as ctx:
        push, router = ctx.socket(trimq.Push), ctx.socket(trimq.Router, send_hwm=6)
        assert (push.linger, push.send_hwm) == (2, 5)
        assert not hasattr(push, "mandatory")
        assert (router.routing_id, router.mandatory, router.send_hwm) == (b"x", True, 6)
        for kind in ALL_TYPES:
            assert ctx.socket(kind).linger == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"linger": -1}, ValueError),
        ({"send_hwm": 0}, ValueError),
        ({"routing_id": "x"}, TypeError),
        ({"send_hmw": 1}, TypeError),
        ({"pattern": 1}, TypeError),
        ({"checkpoints": "never"}, ValueError),
    ],
    ids=repr,
)
def test_context_defaults_are_checked_at_once(options: Any, error: type[Exception]) -> None:
    """Not when the first socket is made, or never."""
    with pytest.raises(error):
        trimq.open_context(**options)


# Values


async def refused(kind: Any, name: str, value: Any, error: type[Exception], says: str = "") -> None:
    """As a keyword and as an attribute; a refused value changes nothing."""
    async with opened() as ctx:
        with pytest.raises(error) as caught:
            ctx.socket(kind, **{name: value})
        assert name in str(caught.value)
        assert says in str(caught.value)
        socket = ctx.socket(kind)
        before = getattr(socket, name)
        with pytest.raises(error):
            setattr(socket, name, value)
        assert getattr(socket, name) == before


@jumping
@pytest.mark.parametrize("name", HIGH_WATER_MARKS)
async def test_high_water_marks(name: str) -> None:
    """1 or more, or math.inf; libzmq's 0 for "no limit" is refused and told how to say it."""
    async with opened() as ctx:
        for value in (1, 10**9, math.inf):
            assert getattr(ctx.socket(trimq.Push, **{name: value}), name) == value
    await refused(trimq.Push, name, 0, ValueError, f"say {name}=math.inf")
    await refused(trimq.Push, name, -1, ValueError)
    for wrong in (1.5, "1", None, True, False, -math.inf, math.nan):
        await refused(trimq.Push, name, wrong, TypeError)


@jumping
@pytest.mark.parametrize("name", TIMES)
async def test_times(name: str) -> None:
    """Seconds, 0 or more, or math.inf; floats however given."""
    async with opened() as ctx:
        for value in (0, 1, 0.5, math.inf):
            stored = getattr(ctx.socket(trimq.Push, **{name: value}), name)
            assert stored == value
            assert type(stored) is float
    for wrong in (-1, -0.001, math.nan, -math.inf):
        await refused(trimq.Push, name, wrong, ValueError, "0 or more seconds")
    for wrong in ("1", None, True, b""):
        await refused(trimq.Push, name, wrong, TypeError)


@jumping
@pytest.mark.parametrize("name", INTERVALS)
async def test_intervals(name: str) -> None:
    """Seconds, more than 0, or math.inf: without a pause, attempts would spin."""
    async with opened() as ctx:
        for value in (0.001, 1, math.inf):
            assert getattr(ctx.socket(trimq.Push, **{name: value}), name) == value
    await refused(trimq.Push, name, 0, ValueError, "more than 0 seconds")
    await refused(trimq.Push, name, -1, ValueError)


@jumping
@pytest.mark.parametrize("name", BOOLEANS)
async def test_booleans(name: str) -> None:
    """True or False, nothing that only looks so."""
    for wrong in (0, 1, None, "yes", b""):
        await refused(trimq.Push, name, wrong, TypeError)


@jumping
async def test_sizes_and_counts() -> None:
    """max_message_size in bytes or math.inf; backlog a whole number."""
    async with opened() as ctx:
        assert ctx.socket(trimq.Pull, max_message_size=1).max_message_size == 1
        assert ctx.socket(trimq.Pull, max_message_size=math.inf).max_message_size == math.inf
    for name in ("max_message_size", "backlog"):
        for wrong in (0, -1):
            await refused(trimq.Pull, name, wrong, ValueError)
        for wrong in (1.0, True, "1", None):
            await refused(trimq.Pull, name, wrong, TypeError)
    await refused(trimq.Pull, "backlog", math.inf, TypeError)


@jumping
@pytest.mark.parametrize("kind", [trimq.Req, trimq.Dealer, trimq.Router])
async def test_routing_ids(kind: Any) -> None:
    """Up to 255 bytes, not beginning with a zero byte, which is reserved (libzmq.md 2.2, 5); copied if mutable."""
    async with opened() as ctx:
        mutable = bytearray(b"id")
        socket = ctx.socket(kind, routing_id=mutable)
        mutable[:] = b"di"
        assert socket.routing_id == b"id"
        assert type(socket.routing_id) is bytes
        for value in (b"", b"x", b"x" * 255, memoryview(b"view"), b"x\0"):
            assert ctx.socket(kind, routing_id=value).routing_id == bytes(value)
    await refused(kind, "routing_id", b"x" * 256, ValueError, "at most 255 bytes")
    await refused(kind, "routing_id", b"\0x", ValueError, "zero byte")
    await refused(kind, "routing_id", "x", TypeError)


@jumping
async def test_welcome_message_is_a_frame() -> None:
    """Bytes of any length; no str."""
    async with opened() as ctx:
        assert ctx.socket(trimq.XPub, welcome_message=bytearray(b"\0hi")).welcome_message == b"\0hi"
    for wrong in ("hi", None, [b"hi"]):
        await refused(trimq.XPub, "welcome_message", wrong, TypeError)


@jumping
async def test_words_and_collections() -> None:
    """Words are known ones; collections take any kind of collection, but no text, and are copied."""
    await refused(trimq.Push, "mute", "drop", ValueError, "'drop_old'")
    await refused(trimq.Push, "mute", None, TypeError)
    await refused(trimq.Push, "reconnect_stop", {"hand"}, ValueError, "'handshake'")
    await refused(trimq.Push, "reconnect_stop", "refused", TypeError)
    await refused(trimq.Push, "tcp_accept_filter", ["300.0.0.1"], ValueError, "'300.0.0.1'")
    await refused(trimq.Push, "tcp_accept_filter", "10.0.0.1", TypeError)
    await refused(trimq.Push, "ipc_filter_uid", [-1], ValueError)
    await refused(trimq.Push, "ipc_filter_uid", ["0"], TypeError)
    await refused(trimq.Push, "ipc_filter_uid", 0, TypeError)
    async with opened() as ctx:
        words = ["refused"]
        push = ctx.socket(trimq.Push, reconnect_stop=words, tcp_accept_filter=["::1", "10.1.2.3/8"])
        words.append("x")
        assert push.reconnect_stop == {"refused"}
        assert push.tcp_accept_filter == ("::1/128", "10.0.0.0/8")


@jumping
async def test_metadata() -> None:
    """Names as RFC 23 has them and beginning with X-, bytes as values; a copy is kept (ZMQ_METADATA)."""
    async with opened() as ctx:
        given = {"X-a": bytearray(b"1")}
        push = ctx.socket(trimq.Push, metadata=given)
        given["X-b"] = bytearray(b"2")
        assert dict(push.metadata) == {"X-a": b"1"}
        with pytest.raises(TypeError):
            push.metadata["X-c"] = b""  # type: ignore[index]
    for wrong in ({"a": b""}, {"X-": b""}, {"X-\xe4": b""}, {"X-" + 254 * "a": b""}):
        await refused(trimq.Push, "metadata", wrong, ValueError, "X-")
    for wrong in ("X-a", {1: b""}, {"X-a": "text"}, None):
        await refused(trimq.Push, "metadata", wrong, TypeError)


@jumping
async def test_numbers_that_may_be_left_to_the_system() -> None:
    """None leaves them to the system; nothing else does."""
    for name in ("send_buffer", "receive_buffer", "tcp_keepalive_count"):
        await refused(trimq.Push, name, 0, ValueError)
        await refused(trimq.Push, name, 1.5, TypeError)
    for name in ("tos", "priority", "ipc_mode"):
        await refused(trimq.Push, name, -1, ValueError)
        await refused(trimq.Push, name, "1", TypeError)
    await refused(trimq.Push, "bind_to_device", "", ValueError)
    await refused(trimq.Push, "bind_to_device", "a" * 16, ValueError)
    await refused(trimq.Push, "bind_to_device", b"lo", TypeError)
    await refused(trimq.Push, "heartbeat_ttl", 66, ValueError, "65.5")


@jumping
async def test_nodrop_is_a_value_of_mute() -> None:
    """One truth under two names; whichever is set last holds."""
    async with opened() as ctx:
        pub = ctx.socket(trimq.Pub, nodrop=True)
        assert (pub.nodrop, pub.mute) == (True, "block")
        pub.mute = "drop_old"
        assert pub.nodrop is False
        pub.nodrop = False
        assert pub.mute == "drop_new"


def test_every_libzmq_option_has_its_place() -> None:
    """No option is silently ignored: each has a name here, or an error that says why not and what to do instead."""
    numbers = (*SOCKET, *NO_SOCKET)
    assert len(numbers) == len(set(numbers)) == 112
    every = set().union(*(options_of(kind) for kind in ALL_TYPES))
    assert set(SOCKET.values()) == every - OWN
    assert not CONTEXT.keys() & set(numbers)


@jumping
async def test_read_on_the_class() -> None:
    """On a class it is the descriptor, which says its default; class and socket do not mix."""
    assert trimq.Push.send_hwm.default == 1000  # type: ignore[attr-defined]
    async with opened() as ctx:
        one, other = ctx.socket(trimq.Push), ctx.socket(trimq.Push)
        one.send_hwm = 1
        assert other.send_hwm == 1000


@jumping
async def test_settings_are_taken_at_bind_and_connect() -> None:
    """Options hold for later binds and connects (libzmq.md 2.1)."""
    async with opened() as ctx:
        pull = ctx.socket(trimq.Pull, max_message_size=10, backlog=7, connect_timeout=1, immediate=True)
        before = pull._settings()
        pull.max_message_size, pull.backlog, pull.connect_timeout, pull.immediate = 20, 8, 2, False
        assert (before.max_message_size, before.backlog, before.connect_timeout, before.immediate) == (10, 7, 1, True)
        after = pull._settings()
        assert (after.max_message_size, after.backlog, after.connect_timeout, after.immediate) == (20, 8, 2, False)


@jumping
@pytest.mark.parametrize("name", ["sndhwm", "rcvtimeo", "identity", "subscribe_all", "mandatory", "hwm", "io_threads"])
async def test_attributes_that_are_no_options(name: str) -> None:
    """As programs of pyzmq set them, or as other types have them: refused with the way to say it, and never ignored."""
    async with opened() as ctx:
        push = ctx.socket(trimq.Push)
        assert not hasattr(push, name)
        if name in ("subscribe_all", "io_threads"):  # nobody's name: Python's own rules hold
            return
        with pytest.raises(AttributeError, match=f"Push has no option {name}: "):
            setattr(push, name, 5)
        assert not hasattr(push, name)


@jumping
async def test_a_closed_socket_takes_no_options() -> None:
    """They would have no effect: SocketClosed, as ENOTSOCK in libzmq. After the context's end they may still be set."""
    async with opened() as ctx:
        push, other = ctx.socket(trimq.Push), ctx.socket(trimq.Push)
        push.close()
        with pytest.raises(trimq.SocketClosed, match="linger has no effect"):
            push.linger = 5
        assert push.linger == 0
        ctx.shutdown()
        other.linger = 5


@jumping
async def test_timeouts_of_zero() -> None:
    """libzmq's 0 means none; taken at its word, nothing could ever connect."""
    for name in ("connect_timeout", "handshake_timeout"):
        await refused(trimq.Push, name, 0, ValueError, f"say {name}=math.inf")


@jumping
async def test_the_routing_id_holds_for_later_connects() -> None:
    """An endpoint announces what was set when it was made, however often it connects (libzmq.md 2.1)."""
    network = MemoryTransport()
    async with opened(network) as ctx:
        router, dealer = ctx.socket(trimq.Router), ctx.socket(trimq.Dealer, routing_id=b"one")
        router.bind("tcp://place:1")
        endpoint = dealer.connect("tcp://place:1")
        await router.wait_for_peers()
        await endpoint.ready()  # a handshake that is not complete would fail, and that is a fault
        dealer.routing_id = b"two"
        network.drop_all()
        await wait_all_tasks_blocked()
        await endpoint.ready()
        await router.wait_for_peers()
        assert [peer.identity for peer in router.peers] == [b"one"]


@pytest.mark.parametrize("kind", [trimq.Sub, trimq.XSub])
@pytest.mark.parametrize("name", ["subscribe", "unsubscribe"])
async def test_to_subscribe_is_no_option(kind: Any, name: str) -> None:
    """sub.subscribe = topic, as other bindings have it, is refused and says what to do; the method stays."""
    async with trimq.open_context() as context:
        sub = context.socket(kind)
        with pytest.raises(AttributeError, match=rf"call {name}\(topic\)"):
            setattr(sub, name, b"")
        sub.subscribe(b"")
        sub.unsubscribe(b"")


@pytest.mark.parametrize("name", ["LINGER", "SNDHWM", "IDENTITY", "FD", "SUBSCRIBE"])
async def test_libzmq_names_in_capitals(name: str) -> None:
    """sock.LINGER = 0, as with libzmq's constants, is refused and says what to do; it does not pass in silence."""
    async with trimq.open_context() as ctx:
        sub: Any = ctx.socket(trimq.Sub)
        with pytest.raises(AttributeError, match=f"Sub has no option {name}: .*ZMQ_"):
            setattr(sub, name, 0)
