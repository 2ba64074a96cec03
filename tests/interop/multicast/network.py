"""Two network namespaces that are joined, as two machines on one network: for multicast that must not go anywhere else.

They last as long as their two processes, and leave nothing behind. Losing packets is nftables' business.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

NEEDED = ("unshare", "nsenter", "ip")

LOSS = """
table netdev trimq {{
  chain lose {{
    type filter hook ingress device "veth" priority 0;
    ip protocol {{ udp, 113 }} numgen random mod 100 < {percent} counter drop
    ip6 nexthdr {{ udp, 113 }} numgen random mod 100 < {percent} counter drop
  }}
}}
"""


@attrs.frozen
class Machine:
    """A namespace, with one interface beside lo: ``veth``."""

    holder: subprocess.Popen[bytes]
    address: str
    address6: str

    def prefix(self) -> list[str]:
        """What a command in there begins with."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def run(self, *command: str, stdin: str = "") -> str:
        """Runs a command in there, and returns what it printed."""
        done = subprocess.run(
            [*self.prefix(), *command], input=stdin, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def lose(self, percent: int) -> None:
        """From now on so many of a hundred packets that come in are lost: of all PGM, or all UDP."""
        self.run("nft", "-f", "-", stdin=LOSS.format(percent=percent))


def why_not() -> str:
    """Why there can be no namespaces here; empty if there can."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return f"platform: no network namespaces here: {', '.join(missing) or sys.platform}"
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return "" if not tried.returncode else "platform: no right to make network namespaces here"


@contextmanager
def two_machines() -> Iterator[tuple[Machine, Machine]]:
    """Two of them, 10.77.0.1 and 10.77.0.2, fd77::1 and fd77::2."""
    holders = [
        subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo here; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        machines: list[Machine] = []
        for number, holder in enumerate(holders, 1):
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"here\n"
            machines.append(Machine(holder, f"10.77.0.{number}", f"fd77::{number}"))
        one, other = machines
        one.run("ip", "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", str(other.holder.pid))
        for machine in machines:
            machine.run("ip", "link", "set", "lo", "up")
            machine.run("ip", "addr", "add", f"{machine.address}/24", "dev", "veth")
            machine.run("ip", "addr", "add", f"{machine.address6}/64", "dev", "veth", "nodad")
            machine.run("ip", "link", "set", "veth", "up")
        for machine in machines:
            # libzmq looks names up, and multicast, by way of the table of routes
            machine.run("ip", "route", "add", "224.0.0.0/4", "dev", "veth")
        yield one, other
    finally:
        for holder in holders:
            holder.communicate()
