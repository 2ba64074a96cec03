"""Gets old and other peers into a folder, each by itself: ``python install.py FOLDER``; what is there already stays.

From the package registry for Python: libzmq 2.2 and 3.2, compiled from the sources that old pyzmqs bring; 4.1, in a wheel;
azmq. From Debian's: JeroMQ's archive, unpacked and not installed. pyomq is taken from the Python that runs this.
FOLDER/peers.json then tells how each is started, or why it is missing; peers.py reads it. Nothing outside of the folder is
touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRIVER = str(HERE / "python_peer.py")
PATIENCE = 600  # seconds for one command

Start = dict[str, object]
"""How a peer is started: its command, and what is added to its environment."""


class Missing(Exception):
    """A peer cannot be had here; the reason."""


def run(command: Sequence[str], what: str, **options: object) -> str:
    """Runs it, without what this Python's environment says to others; returns what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["CFLAGS"] = "-O0 -g0"  # half the time to compile; how fast a peer is does not matter
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
            **options,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what}: {error}") from error
    printed = str(done.stdout.decode(errors="replace"))
    if done.returncode:
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["it said nothing"]
        raise Missing(f"{what}: {errors[-1]}")
    return printed


def python(version: str) -> str:
    """The Python of that version: on the path, or pyenv's."""
    root = os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")
    pyenvs = sorted(glob(f"{root}/versions/{version}.*/bin/python{version}"))
    on_path = shutil.which(f"python{version}")
    for candidate in [*pyenvs, *([on_path] if on_path else [])]:
        try:
            run([candidate, "-m", "pip", "--version"], candidate)
        except Missing:  # pyenv has a command for each version, also for those that are not chosen
            continue
        return candidate
    raise Missing(f"Python {version} with pip is not on this machine")


def pip(interpreter: str, folder: Path, *arguments: str) -> None:
    """Installs into a folder of its own; all or nothing."""
    if folder.exists():
        return
    making = folder.with_name(folder.name + ".new")
    shutil.rmtree(making, ignore_errors=True)
    command = [interpreter, "-m", "pip", "install", "--disable-pip-version-check", "--target", str(making), *arguments]
    run(command, f"pip install {' '.join(arguments)}")
    making.rename(folder)


def old_pyzmq(version: str, interpreter: str, *arguments: str) -> Callable[[Path], Start]:
    """A pyzmq that brings the libzmq of its day."""

    def get(folder: Path) -> Start:
        found = python(interpreter)
        pip(found, folder, "--no-deps", f"pyzmq=={version}", *arguments)
        return {"command": [found, DRIVER, "zmq"], "environment": {"PYTHONPATH": str(folder)}}

    return get


COMPILED = ("--no-binary", ":all:", "--install-option=--zmq=bundled")


def azmq(folder: Path) -> Start:
    """asyncio; its code is of Python 3.6."""
    found = python("3.6")
    pip(found, folder, "azmq==1.0.6")
    return {"command": [found, str(HERE / "azmq_peer.py")], "environment": {"PYTHONPATH": str(folder)}}


def jeromq(folder: Path) -> Start:
    """Java; its archive is in Debian's package."""
    java, compiler = shutil.which("java"), shutil.which("javac")
    if java is None or compiler is None:
        raise Missing("there is no Java compiler on this machine")
    jar = folder / "usr/share/java/jeromq.jar"
    if not jar.exists():
        if shutil.which("apt-get") is None:
            raise Missing("this machine is not Debian: there is no apt-get")
        folder.mkdir(exist_ok=True)
        try:
            run(["apt-get", "download", "libjeromq-java"], "apt-get download libjeromq-java", cwd=folder)
        except Missing:  # perhaps the machine has no lists of packages: our own, then
            own = []
            for option in ("State::Lists", "Cache"):
                place = folder / option.replace("::", "-").lower()
                (place / "partial").mkdir(parents=True, exist_ok=True)
                (place / "archives/partial").mkdir(parents=True, exist_ok=True)
                own += ["-o", f"Dir::{option}={place}/"]
            own += ["-o", "APT::Sandbox::User="]
            run(["apt-get", *own, "update"], "apt-get update")
            run(["apt-get", *own, "download", "libjeromq-java"], "apt-get download libjeromq-java", cwd=folder)
        [package] = folder.glob("libjeromq-java_*.deb")
        run(["dpkg-deb", "-x", str(package), str(folder)], "dpkg-deb")
    # each time, for the driver may have changed
    run([compiler, "-cp", str(jar), "-d", str(folder), str(HERE / "JeroPeer.java")], "javac")
    return {"command": [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", f"{jar}:{folder}", "JeroPeer"]}


def pyomq(_folder: Path) -> Start:
    """Rust below."""
    if find_spec("pyomq") is None:
        raise Missing(f"pyomq is not installed for {sys.executable}")
    return {"command": [sys.executable, DRIVER, "pyomq"]}


PEERS: dict[str, Callable[[Path], Start]] = {
    "libzmq-2.2": old_pyzmq("2.2.0.1", "2.7", *COMPILED),
    "libzmq-3.2": old_pyzmq("13.1.0", "2.7", *COMPILED),
    "libzmq-4.1": old_pyzmq("16.0.4", "3.6", "--only-binary", ":all:"),
    "jeromq": jeromq,
    "azmq": azmq,
    "pyomq": pyomq,
}


def main(folder: Path) -> None:
    """Gets them all, at once, and says how that went."""
    folder.mkdir(parents=True, exist_ok=True)

    def get(name: str) -> Start:
        begun = time.monotonic()
        try:
            start = PEERS[name](folder / name)
        except Missing as error:
            start = {"missing": str(error)}
        print(f"{name}: {start.get('missing', 'there')} ({time.monotonic() - begun:.0f} s)", flush=True)
        return start

    with ThreadPoolExecutor(len(PEERS)) as pool:
        found = dict(zip(PEERS, pool.map(get, PEERS), strict=True))
    (folder / "peers.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
