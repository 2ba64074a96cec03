"""A peer with pyzmq's verbs that does as it is told: old versions of pyzmq with old libzmqs, and pyomq.

``python python_peer.py zmq`` or ``... pyomq``. Commands are those of zmq_peer.py, as far as they are here. Written so that
Python 2.7 runs it, too.
"""

from __future__ import print_function

import importlib
import json
import os
import select
import socket as plain
import sys
import time

PATIENCE = 20000  # milliseconds that a command waits before it fails
NOTICE = 0.01  # seconds between two looks of an idle peer at its sockets
LOOPBACK = "127.0.0.1"


def free_port():
    """A port that nobody has at the moment; libzmq 2.2 cannot tell which one it was given."""
    probe = plain.socket()
    probe.bind((LOOPBACK, 0))
    port = probe.getsockname()[1]
    probe.close()
    return port


class Driver(object):
    """Holds the sockets and carries out commands."""

    def __init__(self, name):
        self.zmq = importlib.import_module(name)
        self.context = self.zmq.Context()
        self.sockets = {}

    def run(self):
        rest = b""
        while True:
            # An application that is alive: libzmq carries out some of its work only when it is called.
            while not select.select([0], [], [], NOTICE if self.sockets else None)[0]:
                for socket in self.sockets.values():
                    socket.getsockopt(self.zmq.EVENTS)
            data = os.read(0, 1 << 20)
            if not data:
                return
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                command = json.loads(line.decode("ascii"))
                try:
                    answer = {"value": getattr(self, "do_" + command.pop("op"))(**command)}
                except Exception as error:  # noqa: BLE001
                    answer = {"error": "%s: %s" % (type(error).__name__, error)}
                print(json.dumps(answer))
                sys.stdout.flush()

    def poll(self, name, flag, timeout):
        poller = self.zmq.Poller()
        poller.register(self.sockets[name], flag)
        return dict(poller.poll(timeout)).get(self.sockets[name], 0)

    def do_version(self):
        return [self.zmq.__version__, self.zmq.zmq_version()]

    def do_socket(self, name, kind, options):
        socket = self.context.socket(getattr(self.zmq, kind))
        self.sockets[name] = socket
        for option, value in options.items():
            self.do_set(name, option, value)
        for option, value in (("LINGER", 0), ("RCVTIMEO", PATIENCE), ("SNDTIMEO", PATIENCE)):
            socket.setsockopt(getattr(self.zmq, option), value)

    def do_set(self, name, option, value):
        option = {"ROUTING_ID": "IDENTITY"}.get(option, option)
        value = value if isinstance(value, int) else value.encode("latin-1")
        self.sockets[name].setsockopt(getattr(self.zmq, option), value)

    def do_bind(self, name, endpoint):
        deadline = time.time() + PATIENCE / 1000.0
        while True:
            chosen = str(endpoint.replace("*", str(free_port())))
            try:
                self.sockets[name].bind(chosen)
                return chosen
            except self.zmq.ZMQError:
                # somebody was quicker; or what was closed in the background has the address still
                if time.time() > deadline:
                    raise

    def do_connect(self, name, endpoint):
        self.sockets[name].connect(str(endpoint))

    def do_send(self, name, frames):
        self.sockets[name].send_multipart([frame.encode("latin-1") for frame in frames])

    def do_receive(self, name, timeout):
        """A message; with a timeout in milliseconds, None where none has come."""
        if timeout is not None and not self.poll(name, self.zmq.POLLIN, timeout):
            return None
        return [frame.decode("latin-1") for frame in self.sockets[name].recv_multipart()]

    def do_echo(self, name, count):
        """Gives so many messages back as they came."""
        for _ in range(count):
            self.sockets[name].send_multipart(self.sockets[name].recv_multipart())

    def do_converse(self, name, who, count):
        """Says [who, number] so many times, and hears [who, number, "heard"] as often, in order.

        Returns:
          how many answers were the ones due.
        """
        who, socket, zmq = who.encode("ascii"), self.sockets[name], self.zmq
        said = heard = 0
        while heard < count:
            wanted = zmq.POLLIN | (zmq.POLLOUT if said < count else 0)
            ready = self.poll(name, wanted, PATIENCE)
            if not ready:
                raise ValueError("said %d and heard %d of %d" % (said, heard, count))
            if ready & zmq.POLLOUT and said < count:
                socket.send_multipart([who, str(said).encode("ascii")])
                said += 1
            if ready & zmq.POLLIN:
                answer = socket.recv_multipart()
                if answer != [who, str(heard).encode("ascii"), b"heard"]:
                    raise ValueError("answer %d is %r" % (heard, answer))
                heard += 1
        return heard

    def do_gather(self, name, topics):
        """Receives [topic, number] until [topic, "end"]; the numbers rise by one for each topic.

        Returns:
          how many were there of each topic.
        """
        seen = dict.fromkeys(topics, 0)
        while True:
            topic, number = [frame.decode("ascii") for frame in self.sockets[name].recv_multipart()]
            if number == "end":
                return seen
            if topic not in seen or int(number) != seen[topic]:
                raise ValueError("%s %s came after %r" % (topic, number, seen))
            seen[topic] += 1

    def do_close(self, name, linger):
        socket = self.sockets.pop(name)
        socket.setsockopt(self.zmq.LINGER, linger)
        socket.close()

    def do_reset(self):
        for name in list(self.sockets):
            self.do_close(name, 0)


if __name__ == "__main__":
    # The folder of this script is on sys.path, and nothing in it is to be imported.
    sys.path.pop(0)
    Driver(sys.argv[1]).run()
