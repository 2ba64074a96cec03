"""A publisher or a subscriber over multicast, of libzmq's or of trimq's: ``python peer.py zmq|trimq pub|sub ENDPOINT``.

Debian's Python runs it for libzmq, for its libzmq has OpenPGM. A publisher says b"hello" until a line comes on its standard
input, and then all that `expected` has. A subscriber prints "heard" at the first thing that it hears, and at the end either
"whole", or what was wrong.
"""

import json
import os
import sys
import threading

SIZES = [1, 2, 3, 100, 253, 254, 255, 256, 257, 1000, *range(1410, 1440), 1500, 2850, 2860, 5000, 65535, 65536, 100000]
OPTIONS = json.loads(os.environ.get("OPTIONS", "{}"))
RATE, RECOVERY = OPTIONS.get("rate", 20000), OPTIONS.get("recovery", 10)
BIG = OPTIONS.get("big", 1000000)


def expected():
    """All messages, in order, each of its own content."""
    for number, size in enumerate([*SIZES, *[10] * 200, BIG, *[1000] * 50, *SIZES], 1):
        mark = b"%d:" % number
        body = (mark * (size // len(mark) + 1))[:size]
        if number % 5 == 0:
            yield [mark, body, b""]
        else:
            yield [body]
    yield [b"end"]


class Judge:
    """Compares what comes with what is expected."""

    def __init__(self):
        self.left = expected()
        self.heard = False
        self.count = 0

    def over(self, message):
        """Whether there is nothing more to wait for, after this message."""
        if not self.heard:
            self.heard = True
            print("heard", flush=True)
        if message == [b"hello"]:
            return False
        right = next(self.left)
        if message != right:
            sizes, wanted = [len(part) for part in message], [len(part) for part in right]
            print(f"wrong: message {self.count} has sizes {sizes}, not {wanted}", flush=True)
            return True
        self.count += 1
        if right == [b"end"]:
            print("whole", flush=True)
        return right == [b"end"]


def zmq_main(role, endpoint):
    import zmq

    context = zmq.Context()
    socket = context.socket(zmq.PUB if role == "pub" else zmq.SUB)
    socket.rate, socket.recovery_ivl = RATE, 1000 * RECOVERY
    socket.sndhwm = socket.rcvhwm = 0
    if role == "sub":
        socket.subscribe(b"")
        socket.connect(endpoint)
        judge = Judge()
        while not judge.over(socket.recv_multipart()):
            pass
        return
    socket.connect(endpoint)
    go = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), go.set())).start()
    while not go.wait(0.05):
        socket.send(b"hello")
    for message in expected():
        socket.send_multipart(message)
    sys.stdin.readline()  # libzmq's own end repairs nothing: the process stays until the subscriber has all


async def trimq_main(role, endpoint):
    import math

    import trio

    import trimq

    options = {"rate": RATE, "recovery_interval": RECOVERY}
    async with trimq.open_context() as context:
        if role == "sub":
            sub = context.socket(trimq.Sub, receive_hwm=math.inf, **options)
            sub.subscribe(b"")
            sub.connect(endpoint)
            judge = Judge()
            async for message in sub:
                if judge.over(message):
                    break
            print(sub.statistics(), file=sys.stderr)
            return
        pub = context.socket(trimq.Pub, send_hwm=math.inf, **options)
        pub.bind(endpoint)
        async with trio.open_nursery() as nursery:

            async def hello():
                while True:
                    await pub.send(b"hello")
                    await trio.sleep(0.05)

            nursery.start_soon(hello)
            await trio.to_thread.run_sync(sys.stdin.readline)
            nursery.cancel_scope.cancel()
        for message in expected():
            await pub.send(message)
        if OPTIONS.get("leave"):
            await pub.aclose()
        await trio.to_thread.run_sync(sys.stdin.readline)


def main():
    kind, role, endpoint = sys.argv[1:]
    if kind == "zmq":
        zmq_main(role, endpoint)
    else:
        import trio

        trio.run(trimq_main, role, endpoint)


main()
