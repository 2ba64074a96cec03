"""A program for test_descriptors.py: it runs out of descriptors while it accepts, connects or binds, and recovers.

It has a limit of its own, so it is a process of its own. Says "fine", or ends with a traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import sys
import time
from contextlib import ExitStack

import trio

import trimq

STRANGERS = 30
SPARE = 5


class Told(logging.Handler):
    """What trimq logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def is_open(fd: int) -> bool:
    """Whether there is such a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def set_limit(spare: int) -> None:
    """Leaves room for so many descriptors more."""
    names = sorted(map(int, os.listdir("/proc/self/fd")))
    used = [fd for fd in names if is_open(fd)]  # all but that of listdir itself
    highest = used[-1]
    for fd in range(highest):  # no gaps, or they would count as well
        if fd not in used:
            os.dup2(1, fd)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))


async def idles(seconds: float = 0.6) -> None:
    """For a while, next to no CPU is used."""
    before = time.process_time()
    await trio.sleep(seconds)
    used = time.process_time() - before
    assert used < seconds / 3, f"{used:.2f} s of CPU in {seconds} s"


async def accepting(scheme: str) -> None:
    told = Told()
    logging.getLogger("trimq").addHandler(told)
    logging.getLogger("trimq").setLevel(logging.DEBUG)
    with ExitStack() as stack:
        async with trimq.open_context(linger=0.0, reconnect_interval=0.01) as context:
            pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
            endpoint = pull.bind("tcp://127.0.0.1:*" if scheme == "tcp" else "ipc://*")
            push.connect(endpoint)
            await pull.wait_for_peers()
            family = socket.AF_INET if scheme == "tcp" else socket.AF_UNIX
            strangers = [stack.enter_context(socket.socket(family)) for _ in range(STRANGERS)]
            set_limit(SPARE)
            for stranger in strangers:
                host, _, port = str(endpoint).removeprefix("tcp://").rpartition(":")
                stranger.connect((host, int(port)) if scheme == "tcp" else str(endpoint).removeprefix("ipc://"))
            await idles()
            assert pull._carriers == 2 + SPARE, pull._carriers
            warnings = [text for text in told.messages if "accept failed" in text]
            assert 1 <= len(warnings) <= 10, warnings
            assert os.strerror(errno.EMFILE) in warnings[0]
            assert str(endpoint) in warnings[0]
            await push.send(b"who is there already is served")
            assert await pull.receive() == [b"who is there already is served"]
            for stranger in strangers:
                stranger.close()
            late = context.socket(trimq.Push)
            late.connect(endpoint)
            with trio.fail_after(5):
                await late.send(b"late")
                assert await pull.receive() == [b"late"]
            while pull._carriers > 3:
                await trio.sleep(0.01)
            assert len(pull.peers) == 2


async def connecting(scheme: str) -> None:
    async with trimq.open_context(linger=0.0, reconnect_interval=0.05, reconnect_interval_max=0.1) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        address = pull.bind("tcp://127.0.0.1:*" if scheme == "tcp" else "ipc://*")
        other = context.socket(trimq.Push)
        other.connect(address)
        await other.send(b"before")
        assert await pull.receive() == [b"before"]
        set_limit(0)
        endpoint = push.connect(address)
        await push.send(b"waits")
        await idles()
        assert endpoint.state in (trimq.EndpointState.WAITING, trimq.EndpointState.CONNECTING)
        assert isinstance(endpoint.cause, OSError), endpoint.cause
        assert endpoint.cause.errno == errno.EMFILE or "open files" in str(endpoint.cause), repr(endpoint.cause)
        for text in ("tcp://127.0.0.1:*", "ipc:///tmp/trimq-no-descriptor"):
            try:
                pull.bind(text)
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
            else:
                raise AssertionError(f"{text} was bound without a descriptor")
        assert pull.endpoints == (address,)
        await other.send(b"who is there already is served")
        assert await pull.receive() == [b"who is there already is served"]
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with trio.fail_after(5):
            await endpoint.ready()
            assert await pull.receive() == [b"waits"]
        assert endpoint.cause is None
        pull.unbind(pull.bind("tcp://127.0.0.1:*"))


trio.run({"accepting": accepting, "connecting": connecting}[sys.argv[1]], sys.argv[2])
print("fine")
