"""What a message costs, in bytecode instructions and calls: the same on a slow machine as on a fast one.

    python tests/cost.py             measures, and prints the table of this Python, in the form of tests/test_cost.py
    python tests/cost.py --write     puts it into tests/test_cost.py, in the place of the one that was there
    python tests/cost.py --functions "one await"    says in which functions the instructions were

Each side of a scenario has a context of its own, in one trio run over sockets of the kernel or streams in memory. A
context variable says for whom the code runs: the tasks of a context inherit it from whoever opened the context, so
that what the side's tasks and its links do is told apart, and from trio's own loop.

The counts are of trimq's code (without `trimq.testing`) and of trio's: instructions executed, functions of theirs
called, and calls that they make to functions written in C. After a warm-up, the scenario is played with n messages and
then with 3 n: a message's cost is the difference, divided by 2 n. Nothing here depends on the machine or on chance:

- trimq's clock counts instructions, so that a slice of time is always as much work; trio's stands still;
- of the tasks that can run in a tick, the one that came first goes first;
- the garbage collector is off, and every measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType, MethodDescriptorType
from typing import Any, Final

import trio
import trio._core._run as trio_run

sys.path.append(str(Path(__file__).parents[1]))  # as a command: the trimq that is installed, or else this checkout's

import trimq
import trimq.testing

__all__ = ["COLUMNS", "LOOP", "SCENARIOS", "VERSION", "format_table", "measure", "parse_table"]

COLUMNS: Final = ("trimq", "calls", "trio", "trio calls")
"""What a row has: instructions of trimq's code and calls made in it, then the same of trio's."""

LOOP: Final = "loop"
"""The side that has what belongs to neither: trio's scheduler."""

VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"

Table = dict[tuple[str, str], tuple[float, ...]]  # (scenario, side): a number for each column

INSTRUCTION = 15e-9  # seconds that trimq's clock takes for one, about what a 3 GHz machine does
TABLE_FILE = Path(__file__).with_name("test_cost.py")
TRIMQ = Path(trimq.__file__).parent
TRIO = Path(trio.__file__).parent
OURS, OUR_CALLS, TRIOS, TRIOS_CALLS = range(4)  # in a tally
ELSE = -1


# What is counted


def room_of(code: CodeType) -> int:
    """Where in a tally a function's instructions go; its calls are next to it."""
    if code.co_filename.startswith(f"{TRIMQ}{os.sep}") and not code.co_filename.startswith(str(TRIMQ / "testing")):
        return OURS
    if code.co_filename.startswith(f"{TRIO}{os.sep}") and not code.co_filename.startswith(str(TRIO / "testing")):
        return TRIOS
    return ELSE


class Meter:
    """Counts for the side that is running. There is one, for the life of the process."""

    def __init__(self, *, by_function: bool = False) -> None:
        self.tallies: dict[str, list[int]] = {LOOP: [0, 0, 0, 0]}
        self.running: ContextVar[list[int]] = ContextVar("running", default=self.tallies[LOOP])
        # by whose tally it is, and the function
        self.by_function: Counter[tuple[int, str]] | None = Counter() if by_function else None
        # By id, since to hash a code object is to read it all; the codes are kept, so that ids stay theirs.
        self._rooms: dict[int, int] = {}
        self._codes: list[CodeType] = []
        self._bytecodes: dict[int, bytes] = {}
        self._clock = Meter.now.__code__

    def now(self) -> float:
        """Seconds, by the instructions that were counted."""
        return INSTRUCTION * sum(tally[OURS] + tally[TRIOS] for tally in self.tallies.values())

    def side(self, name: str) -> list[int]:
        """The tally of a side."""
        return self.tallies.setdefault(name, [0, 0, 0, 0])

    def room(self, code: CodeType) -> int:
        """`room_of`, remembered."""
        room = self._rooms.get(id(code))
        if room is None:
            room = self._rooms[id(code)] = room_of(code)
            self._codes.append(code)
        return room

    def forget(self) -> None:
        """The next scenario starts from nothing."""
        self.tallies[LOOP][:] = [0, 0, 0, 0]
        for side in self.tallies.keys() - {LOOP}:
            del self.tallies[side]

    def start(self) -> None:
        """Counts from now on."""
        if sys.version_info >= (3, 12):
            self._monitor()
        else:
            sys.settrace(self._trace)
            sys.setprofile(self._profile)

    # until 3.11

    def _trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        room = self.room(frame.f_code)
        if room == ELSE:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        running, by_function, where = self.running, self.by_function, frame.f_code.co_qualname

        def count(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            if event == "opcode":
                tally = running.get()
                tally[room] += 1
                if by_function is not None:
                    by_function[id(tally), where] += 1
            return count

        return count

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        room = self.room(code)
        if event == "c_call":
            if room != ELSE:
                self.running.get()[room + 1] += 1
        elif event == "call":
            if code is self._clock:  # stands for a function in C
                assert frame.f_back is not None
                room = self.room(frame.f_back.f_code)
                if room != ELSE:
                    self.running.get()[room + 1] += 1
            elif room != ELSE:
                bytecode = self._bytecodes.get(id(code))
                if bytecode is None:
                    bytecode = self._bytecodes[id(code)] = code.co_code
                if bytecode[frame.f_lasti + 1] == 0:  # RESUME's argument: 0 is a call, the others go on after a wait
                    self.running.get()[room + 1] += 1

    # from 3.12 on

    def _monitor(self) -> None:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        events, tool = monitoring.events, monitoring.PROFILER_ID
        disable, running, rooms = monitoring.DISABLE, self.running, self._rooms
        by_function, clock = self.by_function, self._clock
        in_c = (BuiltinFunctionType, MethodDescriptorType)

        def start(code: CodeType, offset: int) -> object:
            known = id(code) in rooms
            room = self.room(code)
            if room == ELSE:
                return disable
            if not known:
                monitoring.set_local_events(tool, code, events.INSTRUCTION | events.CALL)
            running.get()[room + 1] += 1
            return None

        def instruction(code: CodeType, offset: int) -> None:
            tally = running.get()
            tally[rooms[id(code)]] += 1
            if by_function is not None:
                by_function[id(tally), code.co_qualname] += 1

        def call(code: CodeType, offset: int, function: object, argument: object) -> None:
            if isinstance(function, in_c) or getattr(getattr(function, "__func__", None), "__code__", None) is clock:
                running.get()[rooms[id(code)] + 1] += 1

        monitoring.use_tool_id(tool, "trimq's cost")
        monitoring.register_callback(tool, events.PY_START, start)
        monitoring.register_callback(tool, events.INSTRUCTION, instruction)
        monitoring.register_callback(tool, events.CALL, call)
        monitoring.set_events(tool, events.PY_START)


class FirstComeFirstServed(random.Random):
    """What trio asks whether to turn a tick's order round: no, never."""

    def random(self) -> float:
        return 1.0


class Stopped(trio.abc.Clock):
    """Time stands still; what waits for time waits for ever."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return 0.0

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline


def leave_nothing_to_chance(meter: Meter) -> None:
    """The clock, the order of tasks and the garbage collector, for the rest of the process."""
    for clock in ("perf_counter", "thread_time"):
        found = False
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "trimq" and getattr(module, clock, None) is getattr(time, clock):
                vars(module)[clock] = meter.now
                found = True
        assert found, f"no module of trimq has a {clock} any more: which clocks do its amortised checkpoints read?"
        setattr(time, clock, meter.now)
    assert isinstance(trio_run._r, random.Random), "trio has its random numbers somewhere else now"
    trio_run._r = FirstComeFirstServed()
    gc.disable()


# Scenarios

End = Callable[[int], Awaitable[None]]  # plays its part with so many messages


class Rig:
    """What a scenario builds with: a context for each side, and where they meet."""

    def __init__(self, meter: Meter, directory: str, stack: AsyncExitStack) -> None:
        self._meter = meter
        self._directory = directory
        self._stack = stack
        self._scope = stack.enter_context(trio.CancelScope())
        self._memory = trimq.testing.MemoryTransport(buffer=1 << 20)
        self._contexts: dict[str, trimq.Context] = {}
        self._endpoints = 0
        self.per_message: dict[str, tuple[float, ...]] = {}
        self.in_functions: list[tuple[float, str, str]] = []

    async def context(self, side: str) -> trimq.Context:
        """The side's context. inproc joins sockets of one context: there, the first side's is everybody's."""
        if side not in self._contexts:
            self.run_as(side)
            context = trimq.open_context(transports=[self._memory])
            self._contexts[side] = await self._stack.enter_async_context(context)
            self._meter.running.set(self._meter.side(LOOP))
        return self._contexts[side]

    def run_as(self, side: str) -> None:
        """From here on, what this task does is this side's."""
        self._meter.running.set(self._meter.side(side))

    def endpoint(self, scheme: str) -> str:
        """One that is free. "tcp" is a stream in memory here, "ipc" a socket of the kernel."""
        self._endpoints += 1
        where = {"tcp": "memory:", "ipc": f"{self._directory}/", "inproc": "place"}[scheme]
        return f"{scheme}://{where}{self._endpoints}"

    async def measure(self, count: int, ends: Mapping[str, Sequence[End] | End]) -> None:
        """Plays the ends, each as its side, with ``count`` messages and with thrice as many."""
        await self._play(count, ends)  # the warm-up
        once = await self._play(count, ends)
        if self._meter.by_function is not None:
            self._meter.by_function.clear()
        thrice = await self._play(3 * count, ends)
        self.per_message = {
            side: tuple((b - a) / (2 * count) for a, b in zip(once[side], tally, strict=True))
            for side, tally in thrice.items()
        }
        if self._meter.by_function is not None:
            sides = {id(tally): side for side, tally in self._meter.tallies.items()}
            self.in_functions = [
                (instructions / (3 * count), sides[tally], function)
                for (tally, function), instructions in self._meter.by_function.most_common()
            ]
        self._scope.cancel()  # trio's clock stands still: nothing is to linger

    async def _play(self, count: int, ends: Mapping[str, Sequence[End] | End]) -> dict[str, tuple[int, ...]]:
        async def play(side: str, end: End) -> None:
            self.run_as(side)
            await end(count)

        before = {side: tuple(tally) for side, tally in self._meter.tallies.items()}
        async with trio.open_nursery() as nursery:
            for side, end in ends.items():
                for each in [end] if callable(end) else end:
                    nursery.start_soon(play, side, each)
        return {
            side: tuple(b - a for a, b in zip(before.get(side, (0,) * 4), tally, strict=True))
            for side, tally in self._meter.tallies.items()
        }


def bodies(count: int, size: int = 64) -> list[bytes]:
    """Distinct frames."""
    return [b"%0*d" % (size, number) for number in range(count)]


def one_frame(count: int) -> list[list[bytes]]:
    """Distinct messages as they come out."""
    return [[body] for body in bodies(count)]


def three_frames(count: int) -> list[list[bytes]]:
    """Messages of 3 frames of 32 B."""
    return [[b"%032d" % number, b"%-32d" % number, b"%+032d" % number] for number in range(count)]


def mixed(count: int) -> list[list[bytes]]:
    """Messages of 1 to 5 frames of 1 to 1,500 B: the same ones each time."""
    chance = random.Random(1)
    return [
        [b"%0*d" % (chance.randint(1, 1500), number) for _ in range(chance.randint(1, 5))] for number in range(count)
    ]


def as_sent(messages: Iterable[list[bytes]]) -> Iterator[bytes | list[bytes]]:
    """One frame goes in as such."""
    return (message[0] if len(message) == 1 else message for message in messages)


def one_way(
    scheme: str,
    count: int,
    messages: Callable[[int], list[list[bytes]]] = one_frame,
    *,
    many: bool = False,
    pushes: int = 1,
    pulls: int = 1,
) -> Callable[[Rig], Awaitable[None]]:
    """Push to Pull, both as fast as they can."""

    async def scenario(rig: Rig) -> None:
        sending = await rig.context("push")
        receiving = sending if scheme == "inproc" else await rig.context("pull")
        senders = [sending.socket(trimq.Push) for _ in range(pushes)]
        receivers = [receiving.socket(trimq.Pull) for _ in range(pulls)]
        # who is alone binds
        alone, others = (senders[0], receivers) if pulls > 1 else (receivers[0], senders)
        endpoint = alone.bind(rig.endpoint(scheme))
        for other in others:
            other.connect(endpoint)
        for socket in (*senders, *receivers):
            await socket.wait_for_peers(len(others) if socket is alone else 1)

        def sender(socket: trimq.Push) -> End:
            async def send(count: int) -> None:
                if many:
                    await socket.send_many(as_sent(messages(count // pushes)))
                else:
                    for message in as_sent(messages(count // pushes)):
                        await socket.send(message)

            return send

        def receiver(socket: trimq.Pull) -> End:
            async def receive(count: int) -> None:
                got: list[list[bytes]] = []
                while len(got) < count // pulls:
                    if many:
                        got += await socket.receive_many()
                    else:
                        got.append(await socket.receive())
                if pushes == pulls == 1:
                    assert got == messages(count)
                else:
                    assert len(got) == count // pulls

            return receive

        await rig.measure(count, {"push": [*map(sender, senders)], "pull": [*map(receiver, receivers)]})

    return scenario


async def one_at_a_time(rig: Rig) -> None:
    """Each message arrives before the next is sent: every one wakes somebody."""
    push = (await rig.context("push")).socket(trimq.Push)
    pull = (await rig.context("pull")).socket(trimq.Pull)
    push.connect(pull.bind(rig.endpoint("ipc")))
    await push.wait_for_peers()

    async def both(count: int) -> None:
        for message in one_frame(count):
            rig.run_as("push")
            await push.send(message[0])
            rig.run_as("pull")
            assert await pull.receive() == message

    await rig.measure(100, {"push": both})


async def round_trips(rig: Rig) -> None:
    """Req asks, Rep answers."""
    req = (await rig.context("req")).socket(trimq.Req)
    rep = (await rig.context("rep")).socket(trimq.Rep)
    req.connect(rep.bind(rig.endpoint("ipc")))
    await req.wait_for_peers()

    async def ask(count: int) -> None:
        for body in bodies(count):
            await req.send(body)
            assert await req.receive() == [body]

    async def answer(count: int) -> None:
        for _ in range(count):
            await rep.send(await rep.receive())

    await rig.measure(100, {"req": ask, "rep": answer})


async def echo(rig: Rig) -> None:
    """10 Dealers with 32 messages in flight each, and a Router that sends back what it gets."""
    dealers = [(await rig.context("dealer")).socket(trimq.Dealer) for _ in range(10)]
    router = (await rig.context("router")).socket(trimq.Router)
    endpoint = router.bind(rig.endpoint("ipc"))
    for dealer in dealers:
        dealer.connect(endpoint)
    await router.wait_for_peers(len(dealers))

    def ask(dealer: trimq.Dealer) -> End:
        async def play(count: int) -> None:
            waiting = bodies(count // len(dealers))
            for sent, body in enumerate(waiting):
                if sent >= 32:
                    assert await dealer.receive() == [waiting[sent - 32]]
                await dealer.send(body)
            for body in waiting[-32:]:
                assert await dealer.receive() == [body]

        return play

    async def answer(count: int) -> None:
        for _ in range(count):
            await router.send(await router.receive())

    await rig.measure(400, {"dealer": [*map(ask, dealers)], "router": answer})


def publish(subscribers: int, count: int, topics: int = 1, *, many: bool = False) -> Callable[[Rig], Awaitable[None]]:
    """Pub to several Subs, to each of them every message."""

    async def scenario(rig: Rig) -> None:
        pub = (await rig.context("pub")).socket(trimq.Pub, nodrop=True)
        subs = [(await rig.context("sub")).socket(trimq.Sub) for _ in range(subscribers)]
        endpoint = pub.bind(rig.endpoint("ipc"))
        for sub in subs:
            for topic in range(topics):
                sub.subscribe(b"%05d" % topic)
            sub.connect(endpoint)
        await pub.wait_for_subscribers(subscribers, b"%05d" % (topics - 1))

        def published(count: int) -> list[list[bytes]]:
            return [[b"%05d%059d" % (number % topics, number)] for number in range(count)]

        async def send(count: int) -> None:
            if many:
                await pub.send_many(as_sent(published(count)))
            else:
                for message in as_sent(published(count)):
                    await pub.send(message)

        def receiver(sub: trimq.Sub) -> End:
            async def receive(count: int) -> None:
                got: list[list[bytes]] = []
                while len(got) < count:
                    if many:
                        got += await sub.receive_many()
                    else:
                        got.append(await sub.receive())
                assert got == published(count)

            return receive

        await rig.measure(count, {"pub": send, "sub": [*map(receiver, subs)]})

    return scenario


def between(count: int, *, many: bool = False) -> Callable[[Rig], Awaitable[None]]:
    """A loop in the middle hands on from a Pull to a Push; the ends are not measured."""

    async def scenario(rig: Rig) -> None:
        middle = await rig.context("middle")
        front, back = middle.socket(trimq.Pull), middle.socket(trimq.Push)
        ends = await rig.context("ends")
        push, pull = ends.socket(trimq.Push), ends.socket(trimq.Pull)
        push.connect(front.bind(rig.endpoint("ipc")))
        pull.connect(back.bind(rig.endpoint("ipc")))
        for socket in (push, pull, front, back):
            await socket.wait_for_peers()

        async def send(count: int) -> None:
            await push.send_many(bodies(count))

        async def forward(count: int) -> None:
            if many:
                while count:
                    batch = await front.receive_many()
                    count -= len(batch)
                    await back.send_many(batch)
            else:
                for _ in range(count):
                    await back.send(await front.receive())

        async def receive(count: int) -> None:
            got: list[list[bytes]] = []
            while len(got) < count:
                got += await pull.receive_many()
            assert got == one_frame(count)

        await rig.measure(count, {"ends": [send, receive], "middle": forward})
        del rig.per_message["ends"], rig.per_message[LOOP]

    return scenario


SCENARIOS: Final[dict[str, Callable[[Rig], Awaitable[None]]]] = {
    "one await": one_way("ipc", 1000),
    "one await, in memory": one_way("tcp", 1000),
    "one at a time": one_at_a_time,
    "many": one_way("ipc", 4000, many=True),
    "3 frames": one_way("ipc", 600, three_frames),
    "3 frames, many": one_way("ipc", 1500, three_frames, many=True),
    "1 to 5 frames of 1 to 1500 B": one_way("tcp", 500, mixed),
    "64 KiB": one_way("tcp", 40, lambda count: [[body] for body in bodies(count, 65536)]),
    "from 10": one_way("ipc", 1500, pushes=10),
    "to 10": one_way("ipc", 1500, pulls=10),
    "inproc": one_way("inproc", 2000),
    "inproc, many": one_way("inproc", 10000, many=True),
    "round trip": round_trips,
    "echo, 10 x 32": echo,
    "to 10 subscribers": publish(10, 60),
    "to 10 subscribers, many": publish(10, 100, many=True),
    "1000 topics": publish(1, 500, 1000),
    "handed on": between(600),
    "handed on, many": between(4000, many=True),
}
"""What is measured, each a message (or round trip) at a time. 64 B where nothing is said; a message that goes to 10
subscribers is received 10 times."""


# Measuring, and the table


def measure(names: Sequence[str] = tuple(SCENARIOS), **environment: str) -> Table:
    """Measures these scenarios, in this order, in a process of its own.

    Args:
      environment: variables for it.

    Coverage, if it watches this process, is kept out of that one: both would have the interpreter's hooks.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COV", "PYTHON")) or name in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    }
    # the trimq and the trio that are imported here, installed or not
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, __file__, "--here", *names],
        env=kept | environment,
        stdout=subprocess.PIPE,
        check=True,
        timeout=100,
    )
    return {(name, side): tuple(row) for name, side, row in json.loads(done.stdout)}


def measure_here(names: Iterable[str], meter: Meter) -> Iterator[tuple[str, Rig]]:
    """Measures in this process, which is of no other use from then on."""
    leave_nothing_to_chance(meter)
    meter.start()
    for name in names:
        with tempfile.TemporaryDirectory(prefix="trimq") as directory:

            async def run(name: str, directory: str) -> Rig:
                async with AsyncExitStack() as stack:
                    rig = Rig(meter, directory, stack)
                    await SCENARIOS[name](rig)
                return rig

            yield name, trio.run(run, name, directory, clock=Stopped())
        meter.forget()


def rows_of(rig: Rig) -> Iterator[tuple[str, tuple[float, ...]]]:
    """A scenario's rows, as they are printed: its sides, then the loop."""
    for side, row in sorted(rig.per_message.items(), key=lambda item: item[0] == LOOP):
        if any(row):
            yield side, tuple(round(number, 1) for number in row)


def format_table(table: Table) -> str:
    """The table as text, one row a line."""
    lines = [f"{'':30}{'':8}" + "".join(f"{column:>12}" for column in COLUMNS)]
    for (name, side), row in table.items():
        lines.append(f"{name:30}{side:8}" + "".join(f"{number:12.1f}" for number in row))
    return "\n".join(lines)


def parse_table(text: str) -> Table:
    """What `format_table` wrote."""
    table: Table = {}
    for line in text.strip("\n").splitlines()[1:]:
        table[line[:30].strip(), line[30:38].strip()] = tuple(map(float, line[38:].split()))
    return table


def write(table: Table) -> None:
    """Puts the table into the test, with the version of trio that it holds for."""
    text = TABLE_FILE.read_text(encoding="utf-8")
    new = f'    ("{VERSION}", "{trio.__version__}"): """\n{format_table(table)}\n""",\n'
    pattern = rf'    \("{re.escape(VERSION)}", "[^"]*"\): """\n.*?\n""",\n'
    text, replaced = re.subn(pattern, lambda _: new, text, flags=re.DOTALL)
    assert replaced == 1, f"{TABLE_FILE} has no table for {VERSION}: give it one, if only an empty one"
    TABLE_FILE.write_text(text, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Instructions and calls per message.")
    parser.add_argument("names", nargs="*", metavar="scenario", help=f"one of {', '.join(SCENARIOS)}; all if none")
    parser.add_argument("--write", action="store_true", help=f"put the whole table into {TABLE_FILE.name}")
    parser.add_argument("--functions", action="store_true", help="which functions the instructions were in")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in the process of its own
    options = parser.parse_args()
    names = options.names or list(SCENARIOS)
    if options.here:
        print(json.dumps([(name, *row) for name, rig in measure_here(names, Meter()) for row in rows_of(rig)]))
    elif options.functions:
        for name, rig in measure_here(names, Meter(by_function=True)):
            print(f"{name}: instructions per message")
            for instructions, side, function in rig.in_functions[:30]:
                print(f"{instructions:10.1f}  {side:8}{function}")
    elif options.write:
        write(measure())
    else:
        print(format_table(measure(names)))


if __name__ == "__main__":
    main()
