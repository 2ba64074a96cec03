"""pgm and epgm with libzmq over OpenPGM: Debian's libzmq, in processes of its own, between two network namespaces.

Nothing leaves these. Every message has to come, in order, of 1 byte to 1 MB and of several frames: without loss, and where
nftables drops 20 of a hundred packets that come in, either way.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop.multicast.network import Machine, two_machines, why_not

import trimq

PEER = Path(__file__).with_name("peer.py")
DEBIAN = "/usr/bin/python3"
GROUP = "239.192.1.1:5599"


def without_peer() -> str:
    """Why these tests cannot be; empty if they can."""
    tried = subprocess.run(
        [DEBIAN, "-c", "import sys, zmq; sys.exit(not zmq.has('pgm'))"], capture_output=True, check=False
    ) if Path(DEBIAN).exists() else None  # fmt: skip
    if tried is None or tried.returncode:
        return "platform: no libzmq with OpenPGM here (Debian's package python3-zmq)"
    return why_not()


pytestmark = pytest.mark.skipif(bool(why := without_peer()), reason=why)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two of them, joined by a wire."""
    with two_machines() as both:
        yield both


@contextmanager
def running(machine: Machine, kind: str, role: str, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """A peer in there; killed at the end, if it has not ended."""
    python = DEBIAN if kind == "zmq" else sys.executable
    path = str(Path(trimq.__file__).parents[1])
    with subprocess.Popen(
        [*machine.prefix(), python, str(PEER), kind, role, endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | ({"PYTHONPATH": path} if kind == "trimq" else {}),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str]) -> None:
    """Gives it the line that it waits for."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    """Its next line; empty if it has ended. What OpenPGM warns of is left out."""
    assert process.stdout is not None
    while (read := process.stdout.readline().strip()).startswith(("Warn: ", "Minor: ")):
        pass
    return read


def exchange(publisher: tuple[Machine, str], subscriber: tuple[Machine, str], ends: list[str]) -> None:
    """All messages from the one to the other; each end names its own interface."""
    with running(*subscriber, "sub", ends[1]) as sub, running(*publisher, "pub", ends[0]) as pub:
        assert line(sub) == "heard"
        say(pub)
        assert line(sub) == "whole"
        say(pub)
        assert sub.wait(30) == 0


DIRECTIONS = pytest.mark.parametrize(("publisher", "subscriber"), [("trimq", "zmq"), ("zmq", "trimq")])
SCHEMES = pytest.mark.parametrize("scheme", ["epgm", "pgm"])


@pytest.mark.parametrize("loss", [0, 20])
@SCHEMES
@DIRECTIONS
def test_every_message(
    machines: tuple[Machine, Machine], publisher: str, subscriber: str, scheme: str, loss: int
) -> None:
    """Issue 8: trimq's Pub to libzmq's SUB and the other way round, with packets lost and without."""
    one, other = machines
    if loss:
        if shutil.which("nft") is None:
            pytest.skip("platform: no nft to lose packets with")
        for machine in machines:
            machine.lose(loss)
    exchange((one, publisher), (other, subscriber), [f"{scheme}://{machine.address};{GROUP}" for machine in machines])
    if loss:
        for machine in machines:
            assert re.search(r"counter packets [1-9]", machine.run("nft", "list", "table", "netdev", "trimq"))


@SCHEMES
@DIRECTIONS
def test_on_loopback(machines: tuple[Machine, Machine], publisher: str, subscriber: str, scheme: str) -> None:
    """The same on one machine, over 127.0.0.1."""
    one, _ = machines
    exchange((one, publisher), (one, subscriber), [f"{scheme}://127.0.0.1;{GROUP}"] * 2)


@SCHEMES
@DIRECTIONS
def test_tshark_reads_it(
    machines: tuple[Machine, Machine], publisher: str, subscriber: str, scheme: str, tmp_path: Path
) -> None:
    """What goes over the wire, repairs too, is what tshark's dissector takes for PGM: none of it malformed."""
    if shutil.which("tshark") is None or shutil.which("nft") is None:
        pytest.skip("platform: no tshark to read packets with, or no nft to lose some")
    one, other = machines
    other.lose(20)
    capture = tmp_path / "all.pcap"
    ends = [f"{scheme}://{machine.address};{GROUP}" for machine in machines]
    with subprocess.Popen(
        [*one.prefix(), "tshark", "-q", "-i", "veth", "-w", str(capture)], stderr=subprocess.PIPE, text=True
    ) as tshark:
        assert tshark.stderr is not None
        while "Capturing" not in tshark.stderr.readline():
            assert tshark.poll() is None
        exchange((one, publisher), (other, subscriber), ends)
        tshark.send_signal(signal.SIGINT)
        tshark.communicate(timeout=30)
    decoded = ["tshark", "-r", str(capture), "-d", "udp.port==5599,pgm"]

    def read(what: str, *fields: str) -> list[str]:
        shown = [argument for field in fields for argument in ("-e", field)]
        done = subprocess.run(
            [*decoded, "-Y", what, "-T", "fields", *shown], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    kinds = {int(kind, 0) for kind in read("pgm && !icmp", "pgm.hdr.type")}
    assert {0x00, 0x04, 0x05, 0x08, 0x0A} <= kinds  # SPM, ODATA, RDATA, NAK, NCF
    # Not pgm.hdr.cksum.status: tshark takes a checksum that begins with a zero byte for one that is bad.
    for fault in ("_ws.malformed", '_ws.expert.group == "Checksum"'):
        assert read(fault, "frame.number", "ip.src", "ip.dst", "icmp.type", "pgm.hdr.type", "pgm.hdr.cksum") == [], (
            fault
        )
