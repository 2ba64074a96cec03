"""Network namespaces that are joined, as two machines on one network: for multicast that must not go anywhere else.

They last as long as their processes, and leave nothing behind. As a program it installs what is missing of Debian's
packages, and prints why there can be no such network, if so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

PACKAGES = ("python3-zmq", "tshark", "tcpdump", "nftables", "iproute2")
TOOLS = ("unshare", "nsenter", "setpriv", "ip", "nft", "tcpdump", "tshark")
DEBIAN_PYTHON = "/usr/bin/python3"  # its zmq is Debian's libzmq, and that has OpenPGM
HAS_PGM = "import sys, zmq; sys.exit(not zmq.has('pgm'))"

# What is lost is lost on the way in, of all that PGM may be: the subscriber's NAKs too, where the publisher loses.
LOSS = """
table netdev trimq {{
  chain lose {{
    type filter hook ingress device "veth" priority 0;
    ip protocol {{ udp, 113 }} {some} drop
    ip6 nexthdr {{ udp, 113 }} {some} drop
  }}
}}
"""


@attrs.frozen
class Machine:
    """A namespace, with lo, and, where there are two, an interface ``veth``.

    Args:
      holder: the process that it lasts as long as.
      number: the last digit of its first addresses, 10.77.0.1 and fd77::1.
    """

    holder: subprocess.Popen[bytes]
    number: int

    @property
    def prefix(self) -> list[str]:
        """What a command in there begins with."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def address(self, version: int = 4, nth: int = 0) -> str:
        """One of its addresses; it has three of IPv4, for senders beside each other."""
        return f"fd77::{self.number}" if version == 6 else f"10.77.{nth}.{self.number}"

    def run(self, *command: str, stdin: str = "") -> str:
        """Runs a command in there, and returns what it printed."""
        done = subprocess.run(
            [*self.prefix, *command], input=stdin, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def lose(self, percent: int) -> None:
        """From now on so many of a hundred packets that come in are lost, of PGM and of UDP."""
        some = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        self.run("nft", "-f", "-", stdin=LOSS.format(some=some))

    def lose_nothing(self) -> None:
        """From now on all comes in again."""
        self.run("nft", "delete", "table", "netdev", "trimq")


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """One without a network, or two that are joined."""
    command = ["unshare", "-n", "sh", "-c", "echo here; exec cat"]
    holders = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        made: list[Machine] = []
        for number, holder in enumerate(holders, 1):
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"here\n"
            made.append(Machine(holder, number))
            made[-1].run("ip", "link", "set", "lo", "up")
        if count == 2:
            _join(*made)
        yield made
    finally:
        for holder in holders:
            holder.communicate()


def _join(one: Machine, other: Machine) -> None:
    one.run("ip", "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", str(other.holder.pid))
    for machine in (one, other):
        for nth in range(3):
            machine.run("ip", "addr", "add", f"{machine.address(nth=nth)}/24", "dev", "veth")
        machine.run("ip", "addr", "add", f"{machine.address(6)}/64", "dev", "veth", "nodad")
        # Runs of datagrams go as on a real wire, one by one, and so are lost and seen one by one.
        machine.run("ip", "link", "set", "veth", "gso_max_segs", "1", "up")
    for machine in (one, other):
        # The addresses are of three networks; and libzmq looks multicast up in the table of routes.
        machine.run("ip", "route", "add", "10.77.0.0/16", "dev", "veth")
        machine.run("ip", "route", "add", "224.0.0.0/4", "dev", "veth")
        machine.run("ip", "-6", "route", "add", "multicast", "ff00::/8", "dev", "veth", "table", "local", "metric", "1")


def why_not() -> str:
    """Why the tests cannot run here; empty if they can."""
    if sys.platform != "linux":
        return "there are network namespaces on Linux only"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {', no '.join(missing)}"
    if subprocess.run([DEBIAN_PYTHON, "-c", HAS_PGM], capture_output=True, check=False).returncode:
        return f"{DEBIAN_PYTHON} has no zmq with PGM (Debian's package python3-zmq)"
    try:
        with machines(2) as (one, _):
            one.lose(1)
    except (AssertionError, OSError) as error:
        return f"no network namespaces, or no nftables in them: {error}"
    return ""


def install() -> str:
    """apt-get, three times at most, from the second on with fresh lists; returns what it last complained of, if it did."""
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    command += ["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]
    complaint = ""
    for step in ("install", "update", "install", "update", "install"):
        packages = ["--yes", "--no-install-recommends", *PACKAGES] if step == "install" else []
        done = subprocess.run([*command, step, *packages], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            complaint = " ".join(done.stderr.split())[-1000:] or f"{step} exited with {done.returncode}"
        elif step == "install":
            return ""
    return complaint


def main() -> None:
    """Prints why not, after an attempt to install what is missing."""
    why = why_not()
    if why and shutil.which("apt-get") is not None:
        complaint = install()
        why = why_not()
        if why and complaint:
            why += f"; apt-get: {complaint}"
    print(why)


if __name__ == "__main__":
    main()
