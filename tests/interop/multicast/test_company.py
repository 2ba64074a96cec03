"""pgm and epgm between trimq's own sockets, where there is loss, and several take part, who come and go."""

from __future__ import annotations

import pytest
from interop.multicast.conftest import Lan, StartPeer
from interop.multicast.network import Machine

SCHEMES = pytest.mark.parametrize("scheme", ["pgm", "epgm"])
GROUP = "239.192.7.2:5572"


@SCHEMES
def test_several_publishers_and_subscribers(lan: Lan, start: StartPeer, scheme: str) -> None:
    """Publishers of one host, of trimq and of libzmq, speak to one group at once: two subscribers have all messages of
    each, whole and in order, though a fifth of all packets is lost.

    Each has an address of its own, for of several that have one address and one port of UDP the system gives NAKs to any.
    libzmq's has the interface's first: OpenPGM says that it can be reached there, whichever it was given.
    """
    for machine in lan:
        machine.lose(20)
    subs = [start(lan[1], "trimq", "Sub", f"{scheme}://10.77.0.0/24;{GROUP}") for _ in range(2)]
    pubs = [
        start(
            lan[0], implementation, "Pub", f"{scheme}://{lan[0].address(nth=nth)};{GROUP}", name="abc"[nth], rate=20000
        )
        for nth, implementation in enumerate(["zmq", "trimq", "trimq"])
    ]
    for sub in subs:
        sub.wait_for("heard a", "heard b", "heard c")
    for pub in pubs:
        pub.go()
    for sub in subs:
        sub.wait_for("whole a 1", "whole b 1", "whole c 1")
    for peer in subs + pubs:
        peer.leave()


@SCHEMES
@pytest.mark.parametrize("publisher", ["trimq", "zmq"])
def test_a_subscriber_joins_midway(lan: Lan, start: StartPeer, scheme: str, publisher: str) -> None:
    """It begins at a message, and from then on it has all, in order."""
    first = start(lan[1], "trimq", "Sub", f"{scheme}://{lan[1].address()};{GROUP}")
    pub = start(lan[0], publisher, "Pub", f"{scheme}://{lan[0].address()};{GROUP}", rate=20000)
    first.wait_for("heard a")
    for _ in range(3):
        pub.go()
    first.wait_for("half a")
    second = start(lan[1], "trimq", "Sub", f"{scheme}://{lan[1].address()};{GROUP}")
    second.wait_for("whole a 2")
    first.wait_for("whole a 3")


@SCHEMES
def test_a_publisher_goes_and_comes(lan: Lan, start: StartPeer, scheme: str) -> None:
    """A publisher that closes has said all before; one that is killed has not. The next is heard all the same, also under
    the same address.
    """
    for machine in lan:
        machine.lose(20)
    source = f"{scheme}://{lan[0].address()};{GROUP}"
    sub = start(lan[1], "trimq", "Sub", f"{scheme}://veth;{GROUP}")
    for times in (1, 2):
        pub = start(lan[0], "trimq", "Pub", source)
        sub.wait_for("heard a")
        pub.go()
        pub.leave()
        sub.wait_for(f"whole a {times}")
    killed = start(lan[0], "trimq", "Pub", source, name="b", rate=5000)
    sub.wait_for("heard b")
    killed.go()
    sub.wait_for("half b")
    killed.die()
    last = start(lan[0], "zmq", "Pub", source, name="c")
    sub.wait_for("heard c")
    last.go()
    sub.wait_for("whole c 1")
    sub.leave()
    assert "whole b 1" not in sub.said


@SCHEMES
def test_what_is_lost_for_good(lan: Lan, start: StartPeer, scheme: str) -> None:
    """What is older than the recovery interval is lost: an event and a statistic say so, and the stream goes on."""
    options = {"rate": 20000, "recovery_interval": 0.2}  # 333 packets
    sub = start(lan[1], "trimq", "Sub", f"{scheme}://{lan[1].address()};{GROUP}", gaps=True, **options)
    pub = start(lan[0], "trimq", "Pub", f"{scheme}://{lan[0].address()};{GROUP}", **options)
    sub.wait_for("heard a")
    lan[1].lose(100)
    pub.go()
    pub.wait_for("said")
    lan[1].lose_nothing()
    for times in (1, 2):
        pub.go()
        sub.wait_for(f"whole a {times}")
    sub.leave()
    losses = [[int(word) for word in line.split()[1:]] for line in sub.said if line.startswith("lost")]
    assert losses[-1][1] == sum(count for count, _ in losses)
    assert losses[-1][1] > 1000


def test_without_the_right_to_raw_sockets(alone: Machine, start: StartPeer) -> None:
    """pgm says what it lacks, and that epgm does without; and epgm does."""
    less = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    for kind in ("Pub", "Sub"):
        refused = start(alone, "trimq", kind, f"pgm://127.0.0.1;{GROUP}", *less)
        _, errors = refused.process.communicate(timeout=30)
        assert f"cannot use pgm://127.0.0.1;{GROUP}: pgm needs raw sockets" in errors
        assert f"epgm does without: epgm://127.0.0.1;{GROUP}" in errors
    sub = start(alone, "trimq", "Sub", f"epgm://127.0.0.1;{GROUP}", *less)
    pub = start(alone, "trimq", "Pub", f"epgm://127.0.0.1;{GROUP}", *less)
    sub.wait_for("heard a")
    pub.go()
    sub.wait_for("whole a 1")
