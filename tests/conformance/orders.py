"""Scenarios of order, carried out by libzmq: run as a script, it reads them as JSON and prints what was received.

A scenario is a list of steps, each a verb and its arguments; test_order.py says which there are, and carries them out with
trimq. All is inproc and in one thread, and after each step every socket takes notice of what the others did to it, so that
nothing depends on time. To ask for its events would do more than that: some types then fetch a message, and so have their
turn go on, or put those aside that have none.

Nothing but the standard library and pyzmq is used here, and pyzmq only when it runs as a script.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any


def carry_out(context: Any, zmq: Any, steps: list[list[Any]]) -> list[list[str]]:
    """What was received, step by step."""
    sockets: dict[str, Any] = {}
    numbers = itertools.count()
    heard: list[list[str]] = []
    for verb, name, *arguments in steps:
        if verb == "socket":
            kind, options = arguments
            socket = sockets[name] = context.socket(getattr(zmq, kind))
            socket.set(zmq.LINGER, 0)
            for option, value in options.items():
                socket.set(getattr(zmq, option), value.encode() if isinstance(value, str) else value)
        elif verb in ("bind", "connect", "disconnect"):
            getattr(sockets[name], verb)("inproc://" + arguments[0])
        elif verb == "send":
            sockets[name].send_multipart([frame.encode() for frame in arguments], zmq.DONTWAIT)
        elif verb == "full":
            try:
                sockets[name].send(b"one too many", zmq.DONTWAIT)
            except zmq.Again:
                pass
            else:
                raise AssertionError(f"{name} is not full")
        else:
            assert verb == "take", verb
            heard.append([])
            while len(heard[-1]) < arguments[0]:
                try:
                    heard[-1].append(" ".join(frame.decode() for frame in sockets[name].recv_multipart(zmq.DONTWAIT)))
                except zmq.Again:
                    break
        for _ in range(2):  # what one does may be the other's cause to do something
            for socket in sockets.values():
                socket.bind(f"inproc://{next(numbers)}")  # does what is due first
    for socket in sockets.values():
        socket.close()
    return heard


def main() -> None:
    """All scenarios of the input, each with sockets and a context of its own."""
    import zmq

    results = []
    for steps in json.load(sys.stdin):
        context = zmq.Context()
        try:
            results.append(carry_out(context, zmq, steps))
        except Exception as error:  # noqa: BLE001
            results.append([["failed:", f"{type(error).__name__}: {error}"]])
            context.destroy(0)
        context.term()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
