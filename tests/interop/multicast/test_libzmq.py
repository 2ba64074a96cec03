"""pgm and epgm with libzmq over OpenPGM (Debian's): each in a process, on one machine and on two that are joined."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from interop.multicast.conftest import Capture, Lan, StartPeer
from interop.multicast.network import Machine

SPM, ODATA, RDATA, NAK, NCF, SPMR = 0, 4, 5, 8, 10, 12

SCHEMES = pytest.mark.parametrize("scheme", ["pgm", "epgm"])
PAIRINGS = pytest.mark.parametrize(
    ("publisher", "subscriber"), [("trimq", "zmq"), ("zmq", "trimq"), ("trimq", "trimq")]
)


@SCHEMES
@PAIRINGS
@pytest.mark.parametrize("kinds", [("Pub", "Sub"), ("XPub", "XSub")], ids=" ".join)
def test_on_one_machine(alone: Machine, start: StartPeer, scheme, publisher, subscriber, kinds) -> None:
    """Over 127.0.0.1 all messages come, whole and in order, from 1 byte to 1 MB."""
    endpoint = f"{scheme}://127.0.0.1;239.192.7.1:5571"
    sub = start(alone, subscriber, kinds[1], endpoint)
    pub = start(alone, publisher, kinds[0], endpoint)
    sub.wait_for("heard a")
    pub.go()
    sub.wait_for("whole a 1")
    pub.leave()
    sub.leave()


@SCHEMES
@PAIRINGS
@pytest.mark.parametrize(("version", "percent"), [(4, 0), (4, 20), (6, 20)])
def test_between_machines(
    lan: Lan,
    start: StartPeer,
    capture: Callable[[Machine, int], Capture],
    scheme: str,
    publisher: str,
    subscriber: str,
    version: int,
    percent: int,
) -> None:
    """Over a network all messages come, whole and in order, from 1 byte to 1 MB, also where it loses each fifth packet
    both ways; tshark finds no packet malformed, and all types that there should be.
    """
    group, port = {4: "239.192.7.1", 6: "ff08::77"}[version], 5571
    for machine in lan:
        machine.lose(percent)
    seen = capture(lan[1], port)
    options = {"trimq": {"ipv6": version == 6}, "zmq": {}}
    sub = start(
        lan[1], subscriber, "Sub", f"{scheme}://{lan[1].address(version)};{group}:{port}", **options[subscriber]
    )
    pub = start(lan[0], publisher, "Pub", f"{scheme}://{lan[0].address(version)};{group}:{port}", **options[publisher])
    sub.wait_for("heard a")
    pub.go()
    sub.wait_for("whole a 1")
    pub.leave()
    sub.leave()
    types = seen.types()
    assert types >= ({SPM, ODATA, NAK, NCF, RDATA} if percent else {SPM, ODATA})
    assert types <= {SPM, ODATA, NAK, NCF, RDATA, SPMR}
