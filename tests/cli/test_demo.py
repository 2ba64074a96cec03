"""The demo, whole: real worker processes and real sockets. Issue 2, point 7."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio
from programs import Program, environment, run, running

from trimq._cli import _demo, main

each_transport = pytest.mark.parametrize("transport", ["tcp", "ipc"])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Some 60 messages' worth of words, with what is odd among files."""
    contents = {
        "many": b"".join(b"line %d of many\n" % number for number in range(2500)),
        "ends without a line end": b"spam",
        "begins at once": b"spam\n",
        "empty": b"",
        "no UTF-8": b"caf\xe9\n\xff\xfe\0s\0p\0",
        "letters": "Übung macht den Meister, 漢字\n".encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in [*contents, "letters"]]


def table(output: str) -> dict[str, str]:
    """The lines of the demo's table: what they are about, and the first column."""
    lines = [line.split(None, 1) for line in output.splitlines() if line]
    return {line[1]: line[0] for line in lines}


@each_transport
@pytest.mark.parametrize("workers", [1, 3])
def test_the_count_is_right(transport: str, workers: int, files: list[str]) -> None:
    """The words, checked and in order; and the numbers that make it credible."""
    done = run(["-m", "trimq", "demo", "--transport", transport, "--workers", str(workers), *files])
    assert done.returncode == 0, done.stderr
    shown = table(done.stdout)
    words = list(shown.items())[:10]
    assert words[:3] == [("line", "2,500"), ("many", "2,500"), ("of", "2,500")]
    assert words[3:9] == [(word, "2") for word in ("den", "macht", "meister", "spam", "übung", "漢字")]
    assert shown["files"] == "7"
    assert shown["bytes"] == f"{sum(Path(name).stat().st_size for name in files):,}"
    [check] = [about for about in shown if about.startswith("one process counts 7,5")]
    assert shown[check] == "OK"
    [sent] = [int(number) for about, number in shown.items() if about.endswith(f" back, over {transport}")]
    by_worker = [int(number) for about, number in shown.items() if about.startswith("by worker")]
    assert sent == sum(by_worker) == 63 + 5
    assert len(by_worker) == workers
    assert min(by_worker) > 0
    assert "7 of 7 files sent, 68 messages" in done.stderr.splitlines()[-1]


@pytest.mark.pyzmq
@each_transport
def test_half_of_the_workers_are_libzmq(transport: str, files: list[str]) -> None:
    """Every second one, and each has done its part."""
    done = run(["-m", "trimq", "demo", "--transport", transport, "--workers", "3", "--with-pyzmq", *files])
    assert done.returncode == 0, done.stderr
    workers = re.findall(r"(\d+)  by worker (\d) \((\w+)\)", done.stdout)
    assert [(name, kind) for _, name, kind in workers] == [("1", "pyzmq"), ("2", "trimq"), ("3", "pyzmq")]
    assert all(int(jobs) > 0 for jobs, _, _ in workers)
    assert re.search(r"OK  one process counts 7,5\d\d words", done.stdout)


def test_pyzmq_is_not_installed(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before anything starts, with what to do."""
    monkeypatch.setattr(_demo.importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "--with-pyzmq", *files]) == 2
    assert capsys.readouterr().err == (
        "trimq demo: --with-pyzmq needs pyzmq, which is not installed: pip install pyzmq\n"
    )


@pytest.mark.parametrize(("transport", "lacks"), [("vmci", "AF_VSOCK"), ("tipc", "AF_TIPC")])
def test_a_transport_that_this_machine_lacks(
    transport: str, lacks: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Told before anything starts. (Here the tests see to it that it lacks both; tests/guest has them.)"""
    assert main(["demo", "--transport", transport, *files]) == 1
    assert capsys.readouterr().err == (
        f"trimq demo: this Python has no {lacks} sockets, which {transport} needs: it is for Linux; use tcp\n"
    )


def test_vmci_is_not_for_pyzmq(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No libzmq that pyzmq brings has it."""
    assert main(["demo", "--transport", "vmci", "--with-pyzmq", *files]) == 2
    assert capsys.readouterr().err.startswith("trimq demo: the libzmq that pyzmq brings has no vmci: leave out")


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"trimq demo: {tmp_path} is not a file but a directory: name the files in it\n"


def test_a_difference_is_an_error(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and the words that differ."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr(_demo, "count_alone", lambda files: Counter(line=2500, many=2501, of=2500, spam=2))
    assert main(["demo", "--workers", "1", *files]) == 1
    output = capsys.readouterr().out
    assert "DIFFERENT" in output
    assert re.search(r"-1  many: 2,500 by workers, 2,501 alone", output)


@pytest.mark.skipif(sys.platform != "linux", reason="platform: the file that opens and cannot be read is Linux's")
def test_a_file_that_fails_on_the_way(files: list[str]) -> None:
    """It ends the demo and its workers, in one line and without a traceback."""
    done = run(["-m", "trimq", "demo", *files, "/proc/self/mem"])
    assert done.returncode == 1
    assert done.stdout == ""
    *_, last = done.stderr.splitlines()
    assert last == "trimq demo: cannot read /proc/self/mem: Input/output error"
    assert "Traceback" not in done.stderr


# What ends it early. The standard library, several times, is work for longer than it takes to read a line.


def long_demo(*options: str) -> AbstractAsyncContextManager[Program]:
    files = map(str, _demo.choose_files([]))
    return running("-m", "trimq", "demo", *options, *list(files) * 3, stderr=subprocess.STDOUT)


async def started_workers(program: Program, count: int) -> list[int]:
    """The process ids that its first lines tell."""
    lines = [await program.line() for _ in range(count)]
    return [int(line.rpartition(" ")[2]) for line in lines]


@asynccontextmanager
async def watched(pids: list[int]) -> AsyncIterator[None]:
    """The processes have ended when the block is left, or will in a moment."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    yield
    try:
        with trio.fail_after(20):
            for descriptor in descriptors:
                await trio.lowlevel.wait_readable(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="platform: no pidfd_open to watch processes with")


@pytest.mark.parametrize("when", ["at once", "at work"])
async def test_a_killed_worker_is_told(when: str) -> None:
    """The demo does not wait for what will not come: it ends with an error that names the worker."""
    async with long_demo("--workers", "2") as program:
        first, second = await started_workers(program, 2)
        if when == "at work":
            assert "files sent" in await program.line()
        os.kill(second, signal.SIGKILL)
        assert await program.end() == 1
        *_, last = program.left
    assert last == f"trimq demo: worker 2 (trimq, process {second}) was killed by SIGKILL: what it had to count is lost"
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.parametrize("when", ["at once", "at work"])
async def test_interrupt(when: str) -> None:
    """Ctrl-C ends the demo and its workers, with exit code 130 and no traceback."""
    async with long_demo("--workers", "2", "--transport", "ipc") as program:
        workers = await started_workers(program, 2)
        if when == "at work":
            assert "files sent" in await program.line()
        program.process.send_signal(signal.SIGINT)
        assert await program.end() == 130
    assert program.left[-1] == "trimq demo: interrupted"
    assert not [line for line in program.left if "Traceback" in line]
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pidfd
@pytest.mark.pyzmq
async def test_workers_end_with_the_demo() -> None:
    """A demo that is killed leaves no process behind, of either kind."""
    async with long_demo("--workers", "2", "--with-pyzmq") as program, watched(await started_workers(program, 2)):
        assert "files sent" in await program.line()
        program.process.kill()
        assert await program.process.wait() == -signal.SIGKILL


async def test_a_reader_who_has_enough(files: list[str]) -> None:
    """``| head -0``: no traceback, from the demo or from the interpreter's exit."""
    async with running("-m", "trimq", "demo", *files, stderr=subprocess.PIPE) as program:
        assert program.process.stdout is not None
        assert program.process.stderr is not None
        await program.process.stdout.aclose()
        errors = b"".join([some async for some in program.process.stderr])
        assert await program.process.wait() == 1
    assert b"Traceback" not in errors
    assert b"Exception" not in errors
