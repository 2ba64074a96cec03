"""Peers over multicast: each a process, in a network namespace that the test has made. Nothing leaves those."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest
from interop.multicast.network import DEBIAN_PYTHON, Machine, machines, why_not

HERE = Path(__file__).parent
PYTHONS = {"zmq": DEBIAN_PYTHON, "trimq": sys.executable}

Lan = list[Machine]


@pytest.fixture(scope="session")
def possible() -> str:
    """Why these tests cannot run here; empty if they can."""
    return why_not()


@pytest.fixture(autouse=True)
def here(possible: str) -> None:
    """Skips where there can be no such networks, or no libzmq with PGM; `nox -s multicast` installs what is missing."""
    if possible:
        pytest.skip(possible)


@pytest.fixture
def alone() -> Iterator[Machine]:
    """A machine without a network."""
    with machines(1) as [machine]:
        yield machine


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Two machines on one network."""
    with machines(2) as both:
        yield both


class Peer:
    """A process of peer.py."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.said: list[str] = []

    def wait_for(self, *lines: str) -> None:
        """Waits until it has said all these, in any order. It fails with what it says that is wrong."""
        assert self.process.stdout is not None
        while not set(lines) <= set(self.said):
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.process.communicate()[1]}"
            assert not line.startswith("wrong"), line
            self.said.append(line.strip())

    def go(self) -> None:
        """A publisher says all that it has."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")

    def leave(self) -> None:
        """It goes, in its own way, and waits until it is gone."""
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, errors

    def die(self) -> None:
        """It is killed, and says nothing at its end."""
        self.process.kill()
        print(self.process.communicate()[1])


StartPeer = Callable[..., Peer]


@pytest.fixture
def start() -> Iterator[StartPeer]:
    """Starts a peer: ``start(machine, "zmq", "Pub", "epgm://...", rate=20000)``

    Words after the endpoint come before its command.
    """
    peers: list[Peer] = []

    def start(
        machine: Machine, implementation: str, kind: str, endpoint: str, /, *before: str, **options: object
    ) -> Peer:
        driver = [PYTHONS[implementation], str(HERE / "peer.py"), implementation, kind, endpoint]
        peers.append(Peer([*machine.prefix, *before, *driver, json.dumps(options)]))
        return peers[-1]

    yield start
    for peer in peers:
        peer.die()


@attrs.frozen
class Capture:
    """What tcpdump sees of a machine's interface ``veth``."""

    process: subprocess.Popen[str]
    path: Path
    port: int

    def types(self) -> set[int]:
        """Ends it, and reads it with tshark: the types of PGM's packets, none of which is malformed."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=30)
        assert "\n0 packets dropped by kernel" in said, said
        fields = ("pgm.hdr.type", "pgm.hdr.cksum.status", "_ws.malformed", "_ws.expert.severity", "data.data")
        printed = subprocess.run(
            ["tshark", "-r", str(self.path), "-d", f"udp.port=={self.port},pgm", "-o", "pgm.check_checksum:TRUE"]
            + ["-Y", f"udp.port=={self.port} || ip.proto==113 || ipv6.nxt==113", "-T", "fields"]
            + [word for field in fields for word in ("-e", field)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        types = set()
        for line in printed.splitlines():
            kind, checksum, malformed, severity, data = line.split("\t")
            if not kind:  # tshark does not look into packets of less than 18 bytes, and an SPMR has 16
                packet = bytes.fromhex(data)
                assert len(packet) == 16
                assert not sum(struct.unpack("!8H", packet)) % 65535  # its checksum is right
                types.add(packet[4])
                continue
            # tshark has the checksum under the same name, before what it says of it; 1 is good
            assert (checksum.split(",")[-1], malformed, severity) == ("1", "", ""), line
            types.add(int(kind, 0))
        return types


@pytest.fixture
def capture(tmp_path: Path) -> Iterator[Callable[[Machine, int], Capture]]:
    """Captures what comes to a machine and leaves it: ``capture(machine, port)``."""
    captures: list[Capture] = []

    def begin(machine: Machine, port: int) -> Capture:
        path = tmp_path / f"{len(captures)}.pcap"
        command = [*machine.prefix, "tcpdump", "-Z", "root", "-U", "-B", "16384", "-n", "-i", "veth", "-w", str(path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        captures.append(Capture(process, path, port))
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        return captures[-1]

    yield begin
    for capture in captures:
        capture.process.kill()
        capture.process.communicate()
