"""Benchmark: PUSH to PULL over tcp on loopback, 64-byte messages, two processes, trimq against pyzmq in turn.

    python tests/bench/push_pull.py [--count N] [--rounds N] [--size BYTES] [--batch]

Each round measures both, one after the other, since these machines are shared and noisy: what counts is the ratio of
the medians. Payloads are distinct, and order and content are checked after the clock has stopped. The time is the
receiver's, from its first message to its last; CPU is that of the whole process, per message.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

HWM = 1000


def payloads(count: int, size: int) -> list[bytes]:
    """Distinct messages of one size."""
    return [b"%0*d" % (size, number) for number in range(count)]


def report(start: float, stop: float, cpu: float) -> None:
    """What one end has measured, for the parent."""
    print(json.dumps({"wall": stop - start, "cpu": cpu}), flush=True)


def check(received: list[bytes], count: int, size: int) -> None:
    """Order and content."""
    if received != payloads(count, size):
        raise SystemExit("the messages did not arrive as they were sent")


def pyzmq_send(endpoint: str, count: int, size: int, batch: bool) -> None:
    """The sending end, blocking calls."""
    import zmq

    messages = payloads(count, size)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.sndhwm = HWM
        push.connect(endpoint)
        start, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            push.send(message)
        report(start, time.perf_counter(), time.process_time() - cpu)


def pyzmq_receive(endpoint: str, count: int, size: int, batch: bool) -> None:
    """The receiving end, blocking calls."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvhwm = HWM
        pull.bind(endpoint)
        print(pull.last_endpoint.decode(), flush=True)
        received = [pull.recv()]
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(count - 1):
            received.append(pull.recv())
        report(start, time.perf_counter(), time.process_time() - cpu)
    check(received, count, size)


def trimq_send(endpoint: str, count: int, size: int, batch: bool) -> None:
    """The sending end, one await a message or send_many."""
    import trio

    import trimq

    async def main() -> None:
        messages = payloads(count, size)
        async with trimq.open_context() as context:
            push = context.socket(trimq.Push, send_hwm=HWM)
            push.connect(endpoint)
            start, cpu = time.perf_counter(), time.process_time()
            if batch:
                await push.send_many(messages)
            else:
                for message in messages:
                    await push.send(message)
            report(start, time.perf_counter(), time.process_time() - cpu)

    trio.run(main)


def trimq_receive(endpoint: str, count: int, size: int, batch: bool) -> None:
    """The receiving end, one await a message or receive_many."""
    import trio

    import trimq

    async def main() -> None:
        async with trimq.open_context() as context:
            pull = context.socket(trimq.Pull, receive_hwm=HWM)
            print(pull.bind(endpoint), flush=True)
            [first] = await pull.receive()
            received = [first]
            start, cpu = time.perf_counter(), time.process_time()
            if batch:
                while len(received) < count:
                    received += [message[0] for message in await pull.receive_many()]
            else:
                for _ in range(count - 1):
                    received.append((await pull.receive())[0])
            report(start, time.perf_counter(), time.process_time() - cpu)
        check(received, count, size)

    trio.run(main)


ENDS: dict[str, Callable[[str, int, int, bool], None]] = {
    "pyzmq-send": pyzmq_send,
    "pyzmq-receive": pyzmq_receive,
    "trimq-send": trimq_send,
    "trimq-receive": trimq_receive,
}


def measure(sender: str, receiver: str, options: argparse.Namespace) -> dict[str, float]:
    """One run: messages a second, and CPU microseconds a message of both ends."""
    count = options.count
    command = [sys.executable, __file__, "--count", str(count), "--size", str(options.size)]
    command += ["--batch"] * options.batch
    with subprocess.Popen(
        [*command, "--end", f"{receiver}-receive", "--endpoint", options.endpoint], stdout=subprocess.PIPE, text=True
    ) as receiving:
        assert receiving.stdout is not None
        endpoint = receiving.stdout.readline().strip()
        sending = subprocess.run(
            [*command, "--end", f"{sender}-send", "--endpoint", endpoint], stdout=subprocess.PIPE, text=True, check=True
        )
        received = json.loads(receiving.stdout.readline())
    if receiving.returncode:
        raise SystemExit("the receiving end failed")
    return {
        "rate": count / received["wall"],
        "send_us": 1e6 * json.loads(sending.stdout)["cpu"] / count,
        "receive_us": 1e6 * received["cpu"] / count,
    }


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", action="store_true", help="trimq uses send_many and receive_many")
    parser.add_argument("--endpoint", default="tcp://127.0.0.1:*")
    parser.add_argument("--end", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.end:
        ENDS[options.end](options.endpoint, options.count, options.size, options.batch)
        return
    pairs = [("pyzmq", "pyzmq"), ("trimq", "trimq"), ("pyzmq", "trimq"), ("trimq", "pyzmq")]
    rounds = [{pair: measure(*pair, options) for pair in pairs} for _ in range(options.rounds)]
    median = {pair: statistics.median(one[pair]["rate"] for one in rounds) for pair in pairs}
    how = "in batches" if options.batch else "one await a message"
    print(f"PUSH -> PULL, {options.endpoint}, {options.size} B, trimq {how}, {options.count} messages, ", end="")
    print(f"{options.rounds} rounds, {os.cpu_count()} cores; medians, with CPU per message of sender + receiver")
    for pair in pairs:
        rates = [one[pair]["rate"] for one in rounds]
        cpu = [statistics.median(one[pair][end] for one in rounds) for end in ("send_us", "receive_us")]
        print(
            f"{pair[0]:>6} -> {pair[1]:<6} {median[pair]:>10,.0f}/s   ratio {median[pair] / median[pairs[0]]:.2f}   "
            f"spread {min(rates):,.0f} - {max(rates):,.0f}   {cpu[0]:.2f} + {cpu[1]:.2f} us"
        )


if __name__ == "__main__":
    main()
