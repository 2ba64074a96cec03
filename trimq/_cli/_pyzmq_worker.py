"""A worker process of the demo, with pyzmq, and so libzmq: does what `_worker` does, and never touches trimq's sockets.

python -m trimq._cli._pyzmq_worker NAME JOBS RESULTS
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import zmq

from ._words import END, Count, parse_worker_arguments


def waiting_messages(socket: zmq.Socket[bytes], limit: int) -> Iterator[list[bytes]]:
    """The messages that are there, up to so many."""
    for _ in range(limit):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def work(name: str, jobs: zmq.Socket[bytes], results: zmq.Socket[bytes]) -> int:
    """Does jobs until there will be no more, or the demo has gone; returns the exit code."""
    count = Count(name)
    stdin = sys.stdin.fileno()
    poller = zmq.Poller()
    poller.register(jobs, zmq.POLLIN)
    poller.register(stdin, zmq.POLLIN)
    while True:
        if stdin in dict(poller.poll()):
            results.linger = 0
            return 1
        some = list(waiting_messages(jobs, 100))
        if some == [[END]]:
            break
        if some:
            results.send_multipart(count.do(some))
    for message in count.totals():
        results.send_multipart(message)
    return 0


def main() -> int:
    """Works, and returns the exit code."""
    arguments = parse_worker_arguments()
    with zmq.Context() as context, context.socket(zmq.PULL) as jobs, context.socket(zmq.PUSH) as results:
        jobs.connect(arguments.jobs)
        results.connect(arguments.results)
        return work(arguments.name, jobs, results)


if __name__ == "__main__":
    sys.exit(main())
