"""A program for test_churn.py: rounds of reconnects, or of connections, and what is left after each.

Says for each round: tasks, descriptors, bytes (tracemalloc's), connections.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import struct
import sys
import tracemalloc

import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked
from wire.helpers import G, prop, ready

import trimq

HELLO = G + ready(prop(b"Socket-Type", b"PUSH")) + b"\x00\x02ok"
RESET = struct.pack("ii", 1, 0)  # or thirty thousand ports would be in TIME_WAIT


async def settle(pull: trimq.Pull, carriers: int) -> None:
    with trio.fail_after(30):
        while pull._carriers > carriers:
            await trio.sleep(0.001)
        await wait_all_tasks_blocked()


def tell(connections: int) -> None:
    for _ in range(3):
        gc.collect()
    tasks = trio.lowlevel.current_statistics().tasks_living
    print(tasks, len(os.listdir("/proc/self/fd")), tracemalloc.get_traced_memory()[0], connections, flush=True)


async def reconnects(each: int, address: str) -> None:
    async with trimq.open_context(linger=0.0, reconnect_interval=0.0001) as context:
        pull, push = context.socket(trimq.Pull), context.socket(trimq.Push)
        endpoint = push.connect(pull.bind(address))
        for _ in range(3):
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
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    each = min(each, (hard - 200) // 2)
    async with trimq.open_context(linger=0.0) as context:
        pull = context.socket(trimq.Pull, backlog=1000)
        endpoint = str(pull.bind(address))
        where: tuple[str, int] | str
        if address.startswith("tcp"):
            family, where = socket.AF_INET, ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        else:
            family, where = socket.AF_UNIX, endpoint.removeprefix("ipc://")
        for _ in range(3):
            crowd: list[socket.socket] = []
            while len(crowd) < each:
                for _ in range(min(100, each - len(crowd))):
                    sock = socket.socket(family)
                    sock.connect(where)
                    sock.sendall(HELLO)
                    crowd.append(sock)
                with trio.fail_after(10):
                    await pull.wait_for_peers(len(crowd))
            for _ in crowd:
                assert await pull.receive() == [b"ok"]
            for sock in crowd:
                if family is socket.AF_INET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
            crowd.clear()
            await settle(pull, 1)
            assert pull.peers == ()
            tell(each)


tracemalloc.start(1)
trio.run({"reconnects": reconnects, "connections": connections}[sys.argv[1]], int(sys.argv[2]), sys.argv[3])
