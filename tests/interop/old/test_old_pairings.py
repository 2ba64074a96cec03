"""Each pairing that RFC 37 allows, with old and other peers: trimq as the one and as the other, as binder and as connector.

The conversations are those with libzmq 4.3 (test_pairings.py), without what a peer cannot do: `Limit` in peers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from interop import test_pairings
from interop.harness import KINDS, Peer, join, running, until_quiet
from interop.old.peers import LIMITS, NAMES, Limit
from interop.test_pairings import NAMES as PAIRS, PAIRINGS, ROLES, subscribe, talk, unsubscribe

pytestmark = pytest.mark.old_peers


async def publish_subscribe(pub: Any, sub: Any, limits: set[Limit], *, trimq_publishes: bool) -> None:
    """PUB or XPUB, and SUB or XSUB: what was subscribed to, by prefix; an XPUB sees it, if it can."""
    pub_kind, sub_kind = (end.socket_type if isinstance(end, tuple(KINDS.values())) else end.kind for end in (pub, sub))
    topics = [b"news"] if Limit.ONE_TOPIC in limits and not trimq_publishes else [b"news", b"sport"]
    pub_sees = pub_kind == "XPUB" and (trimq_publishes or Limit.XPUB_IS_DEAF not in limits)
    told = Limit.NO_SUBSCRIPTIONS not in limits
    # Who tells its publisher nothing gets everything, and a SUB then chooses; an XSUB does not (libzmq's neither).
    everything = not told and not trimq_publishes and sub_kind == "XSUB"
    for topic in topics:
        await subscribe(sub, topic)
    if trimq_publishes:
        for topic in topics:
            await pub.wait_for_subscribers(1, topic)
    if pub_sees:
        expected = [[b"\1" + topic] for topic in topics] if told else [[b"\1"]]
        assert [await pub.receive() for _ in expected] == expected
    elif not trimq_publishes:
        for topic in topics:
            await until_quiet(sub, lambda rest, topic=topic: pub.send([topic, *rest]))  # it tells nobody who is there
    for message in talk("published"):
        for topic in (b"newspaper", b"weather", b"sport", b"spor"):
            await pub.send([topic, *message])
    for message in talk("published"):
        for topic in (b"newspaper", b"weather", b"sport", b"spor"):
            if everything or topic.startswith(tuple(topics)):
                assert await sub.receive() == [topic, *message]
    if pub_sees and told:
        await unsubscribe(sub, topics[-1])
        assert await pub.receive() == [b"\0" + topics[-1]]
        await subscribe(sub, b"other")
        assert await pub.receive() == [b"\1other"]
        await pub.send([topics[-1], b"nobody's"])
        await pub.send([b"other", b"last"])
        assert await sub.receive() == [b"other", b"last"]
    silent = Limit.NO_UPSTREAM if trimq_publishes else Limit.NO_UPSTREAM_SEEN
    if pub_sees and sub_kind == "XSUB" and silent not in limits:
        for message in talk("upstream"):
            if message[0]:
                await sub.send(message)
                assert await pub.receive() == message


def without_empty_frames(who: str) -> Iterator[list[bytes]]:
    """As `talk`, for a REP that looks for the wrong one."""
    return (message for message in talk(who) if b"" not in message)


@pytest.mark.parametrize("trimq_binds", [True, False], ids=["binds", "connects"])
@pytest.mark.parametrize(("pairing", "trimq_first"), ROLES, ids=PAIRS)
@pytest.mark.parametrize(
    ("name", "transport"),
    [(name, transport) for name in NAMES for transport in ("tcp", "ipc") if (name, transport) != ("jeromq", "ipc")],
)
async def test_pairing(
    name: str,
    pairing: tuple[str, str],
    trimq_first: bool,
    trimq_binds: bool,
    transport: str,
    old: Peer,
    fresh: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages go as the pattern says, whatever version of ZMTP the peer speaks (RFC 13, 15, 23, 37)."""
    conversation, *both = PAIRINGS[pairing]
    kind, its_kind = pairing if trimq_first else pairing[::-1]
    options, its_options = both if trimq_first else both[::-1]
    limits = LIMITS[name]
    if its_kind == "REP" and Limit.LAST_EMPTY_FRAME in limits:
        monkeypatch.setattr(test_pairings, "talk", without_empty_frames)
    async with running(10) as ctx:
        mine: Any = ctx.socket(KINDS[kind], **options)
        theirs = await old.socket(its_kind, **{name.upper(): value for name, value in its_options.items()})
        await join(mine, theirs, fresh(transport), trimq_binds=trimq_binds)
        first, second = (mine, theirs) if trimq_first else (theirs, mine)
        if "SUB" in pairing or "XSUB" in pairing:
            await publish_subscribe(first, second, limits, trimq_publishes=trimq_first)
        else:
            await conversation(first, second)
        [info] = mine.peers
        assert info.socket_type == ("" if Limit.NO_TYPE in limits else its_kind)
        assert info.identity == its_options.get("routing_id", b"")
