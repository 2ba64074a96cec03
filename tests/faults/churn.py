"""A program for test_churn.py: six rounds of reconnects, or of connections, and what is there before and after each.

Says so in a line each time: tasks, descriptors, bytes (tracemalloc's), connections since the line before.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import trio
import trio.lowlevel
from trio._core._run import GLOBAL_RUN_CONTEXT
from trio.testing import wait_all_tasks_blocked
from wire.helpers import G, prop, ready

import trimq

HELLO = G + ready(prop(b"Socket-Type", b"PUSH")) + b"\x00\x02ok"
RESET = struct.pack("ii", 1, 0)  # or ten thousand ports would be in TIME_WAIT
ROUNDS = 6
CROWD = 100  # peers at a time


async def settle(pull: trimq.Pull, carriers: int) -> None:
    """Waits until only so many connectors and connections run, and all that is due has been done."""
    with trio.fail_after(30):
        while pull._carriers > carriers:
            await trio.sleep(0.001)
        await wait_all_tasks_blocked()
    with suppress(trio.WouldBlock):  # as whoever receives does: those who have gone leave the line
        pull.receive_nowait()


def tell(connections: int) -> None:
    # What Python and trio keep of what is over, up to some limit: a "derive" of each group of exceptions, in the cache of
    # attributes; deadlines that are past caring. It says nothing about trimq.
    (getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache)()
    GLOBAL_RUN_CONTEXT.runner.deadlines._prune()
    for _ in range(3):
        gc.collect()
    tasks = trio.lowlevel.current_statistics().tasks_living
    print(tasks, len(os.listdir("/proc/self/fd")), tracemalloc.get_traced_memory()[0], connections, flush=True)


async def reconnects(each: int, address: str) -> None:
    async with trimq.open_context(linger=0.0, reconnect_interval=0.0001) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        endpoint = push.connect(pull.bind(address))
        await endpoint.ready()
        await pull.wait_for_peers()
        await settle(pull, 2)
        tell(0)
        for _ in range(ROUNDS):
            for number in range(each):
                await push.send(b"%d" % number)
                assert await pull.receive() == [b"%d" % number]
                [remote] = pull._remotes
                assert remote.carrier is not None
                remote.carrier.close(0.0)
                with trio.fail_after(10):
                    while endpoint.state is trimq.EndpointState.READY:
                        await trio.lowlevel.checkpoint()
                    await endpoint.ready()
                    await pull.wait_for_peers()
            await settle(pull, 2)
            tell(each)


async def connections(each: int, address: str) -> None:
    async with trimq.open_context(linger=0.0) as context:
        pull = context.socket(trimq.Pull, backlog=1000)
        connect = connector(str(pull.bind(address)))
        await crowd(pull, connect, 1)  # a context starts some of its tasks with its first connection
        tell(0)
        for _ in range(ROUNDS):
            for _ in range(0, each, CROWD):
                await crowd(pull, connect, CROWD)
            tell(each)


def connector(endpoint: str) -> Callable[[], socket.socket]:
    where: str | tuple[str, int]
    if endpoint.startswith("ipc"):
        family, where = socket.AF_UNIX, endpoint.removeprefix("ipc://")
    else:
        family, where = socket.AF_INET, ("127.0.0.1", int(endpoint.rpartition(":")[2]))

    def connect() -> socket.socket:
        sock = socket.socket(family)
        sock.connect(where)
        if family is socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return sock

    return connect


async def crowd(pull: trimq.Pull, connect: Callable[[], socket.socket], size: int) -> None:
    """Peers that are there at a time; each is shaken hands with, sends a message and goes."""
    peers = [connect() for _ in range(size)]
    for peer in peers:
        peer.sendall(HELLO)
    with trio.fail_after(10):
        await pull.wait_for_peers(size)
    for _ in peers:
        assert await pull.receive() == [b"ok"]
    for peer in peers:
        peer.close()
    await settle(pull, 1)
    assert pull.peers == ()


tracemalloc.start(1)
trio.run({"reconnects": reconnects, "connections": connections}[sys.argv[1]], int(sys.argv[2]), sys.argv[3])
