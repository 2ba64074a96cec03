"""azmq, an asyncio peer that shares no code with libzmq, does as it is told; commands as in python_peer.py. Python 3.6."""

import asyncio
import json
import os
import socket as plain
import sys
from urllib.parse import urlsplit

import azmq

PATIENCE = 20  # seconds that a command waits before it fails


def free_port():
    probe = plain.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    return port


class Driver:
    """Holds the sockets and carries out commands."""

    def __init__(self):
        self.context = azmq.Context()
        self.sockets = {}

    async def run(self):
        loop = asyncio.get_event_loop()
        reader = asyncio.StreamReader(limit=1 << 26)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
        while True:
            line = await reader.readline()
            if not line:
                os._exit(0)  # its own way out waits for back-offs
            command = json.loads(line.decode("ascii"))
            try:
                answer = {"value": await getattr(self, "do_" + command.pop("op"))(**command)}
            except Exception as error:  # noqa: BLE001
                answer = {"error": "{}: {}".format(type(error).__name__, error)}
            print(json.dumps(answer), flush=True)

    async def do_version(self):
        return ["1.0.6", ""]

    async def do_socket(self, name, kind, options):
        identity = options.get("ROUTING_ID")
        identity = identity.encode("latin-1") if identity else None
        self.sockets[name] = self.context.socket(kind.encode("ascii"), identity=identity)

    async def do_set(self, name, option, value):
        verb = {"SUBSCRIBE": "subscribe", "UNSUBSCRIBE": "unsubscribe"}[option]
        await getattr(self.sockets[name], verb)(value.encode("latin-1"))

    async def do_bind(self, name, endpoint):
        chosen = endpoint.replace("*", str(free_port()))
        self.sockets[name].bind(chosen)
        # it binds in the background, and does not tell when it has
        while chosen.startswith("ipc"):
            if os.path.exists(urlsplit(chosen).path):
                return chosen
            await asyncio.sleep(0.001)
        while True:
            probe = plain.socket()
            try:
                probe.bind(("127.0.0.1", urlsplit(chosen).port))
            except OSError:
                return chosen
            finally:
                probe.close()
            await asyncio.sleep(0.001)

    async def do_connect(self, name, endpoint):
        self.sockets[name].connect(endpoint)

    def send(self, name, frames):
        return asyncio.wait_for(self.sockets[name].send_multipart(frames), PATIENCE)

    def receive(self, name):
        return asyncio.wait_for(self.sockets[name].recv_multipart(), PATIENCE)

    async def do_send(self, name, frames):
        await self.send(name, [frame.encode("latin-1") for frame in frames])

    async def do_receive(self, name, timeout):
        try:
            timeout = PATIENCE if timeout is None else timeout / 1000
            frames = await asyncio.wait_for(self.sockets[name].recv_multipart(), timeout)
        except asyncio.TimeoutError:
            if timeout == PATIENCE:
                raise
            return None
        return [frame.decode("latin-1") for frame in frames]

    async def do_echo(self, name, count):
        for _ in range(count):
            await self.send(name, await self.receive(name))

    async def do_converse(self, name, who, count):
        who = who.encode("ascii")

        async def say():
            for said in range(count):
                await self.send(name, [who, str(said).encode("ascii")])

        saying = asyncio.ensure_future(say())
        for heard in range(count):
            answer = await self.receive(name)
            if answer != [who, str(heard).encode("ascii"), b"heard"]:
                raise ValueError("answer {} is {!r}".format(heard, answer))
        await saying
        return count

    async def do_gather(self, name, topics):
        seen = dict.fromkeys(topics, 0)
        while True:
            topic, number = [frame.decode("ascii") for frame in await self.receive(name)]
            if number == "end":
                return seen
            if topic not in seen or int(number) != seen[topic]:
                raise ValueError("{} {} came after {!r}".format(topic, number, seen))
            seen[topic] += 1

    async def do_close(self, name, linger):
        socket = self.sockets.pop(name)
        socket.close()
        await socket.wait_closed()

    async def do_reset(self):
        for name in list(self.sockets):
            await self.do_close(name, 0)


if __name__ == "__main__":
    sys.path.pop(0)
    asyncio.get_event_loop().run_until_complete(Driver().run())
