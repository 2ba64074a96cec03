"""Sessions, each named for what it proves. `python3 -m nox` installs what they need and runs them all.

Only the package registries are needed. Sessions of other Pythons and of speed run when asked for:
`nox -s tests-3.13`, `nox -s bench`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import nox

nox.needs_version = ">=2025.2.9"

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = sorted({"3.11", "3.12", "3.13", HERE})
TYPED = ["trimq", "tests/type_tests", "examples"]

nox.options.envdir = os.environ.get("NOX_ENVDIR", ".nox")
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "trio_typing", "docs", "old_peers", "guest", "multicast", f"tests-{HERE}"]

PROJECT = nox.project.load_toml("pyproject.toml")

# Printed by a Python that has trimq: a module that names every public name.
EVERY_NAME = """
import importlib
modules = ["trimq", "trimq.abc", "trimq.wire", "trimq.events", "trimq.testing"]
for module in modules:
    print("import", module)
for module in modules:
    for name in importlib.import_module(module).__all__:
        print(f"{module}_{name}".replace(".", "_") + f": object = {module}.{name}")
"""


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Installs dependency groups of pyproject.toml, and trimq as it stands in this checkout."""
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    if package:
        wanted += tuple(PROJECT["project"]["dependencies"])
    session.install(*wanted)
    if package:
        # the version does not change with each edit, so pip must be told that the content may have
        session.install("--force-reinstall", "--no-deps", ".")


def leave(session: nox.Session, why: str, optional: str) -> NoReturn:
    """Skips the session; in continuous integration it fails, unless the variable called ``optional`` is 1."""
    in_ci = os.environ.get("CI") == "true" or os.environ.get("TRIMQ_CI") == "1"
    if in_ci and os.environ.get(optional) != "1":
        session.error(f"{why} ({optional}=1 lets continuous integration pass without)")
    session.skip(why)


def present(paths: list[str]) -> list[str]:
    return [path for path in paths if any(Path(path).rglob("*.py"))]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """pytest over the installed package, pyzmq's libzmq as a peer among it, and what of trimq it ran."""
    install(session, "test", "peers", "old-peers")
    session.env["TRIMQ_NPM"] = str(Path(session.create_tmp()).resolve() / "npm")
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp()).resolve() / "coverage")
    session.run("coverage", "erase")
    # the script and not `-m pytest`, which would put the checkout before the installed package
    # sessions of their own have what these need
    ignored = [f"--ignore=tests/{folder}" for folder in ("interop/old", "interop/multicast", "guest")]
    session.run("coverage", "run", "--parallel-mode", f"{session.bin}/pytest", *ignored, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def old_peers(session: nox.Session) -> None:
    """trimq with old libzmqs, and with what is no libzmq; what cannot be had is skipped, and named."""
    install(session, "test", "peers", "old-peers")
    peers = Path(session.create_tmp()).resolve() / "peers"
    session.run("python", "tests/interop/old/install.py", str(peers))
    session.env["TRIMQ_OLD_PEERS"] = str(peers / "peers.json")
    session.run(f"{session.bin}/pytest", "tests/interop/old", *session.posargs)


@nox.session
def guest(session: nox.Session) -> None:
    """vmci and tipc, in a small Linux guest that has them: see tests/guest/boot.py.

    Where none boots, the session is skipped and says why. In continuous integration (CI=true or TRIMQ_CI=1) it then fails,
    unless TRIMQ_GUEST_OPTIONAL=1 is set.
    """
    install(session, "test", "peers")
    folder = Path(session.create_tmp()).resolve() / "guest"
    boot = ["python", "tests/guest/boot.py", str(folder)]
    session.run(*boot, "true", success_codes=[0, 125])
    if (verdict := folder / "cannot-boot").exists():
        leave(session, f"no guest here: {verdict.read_text(encoding='utf-8').strip()}", "TRIMQ_GUEST_OPTIONAL")
    session.run(*boot, f"{session.bin}/pytest", "tests/guest", *session.posargs)


@nox.session
def multicast(session: nox.Session) -> None:
    """pgm and epgm with Debian's libzmq, on loopback and between network namespaces; packages come by apt-get.

    Where that cannot be had, the session is skipped and says why. In continuous integration (CI=true or TRIMQ_CI=1) it
    then fails, unless TRIMQ_MULTICAST_OPTIONAL=1 is set.
    """
    install(session, "test")
    why = str(session.run("python", "tests/interop/multicast/network.py", silent=True)).strip()
    if why:
        leave(session, f"no multicast here: {why}", "TRIMQ_MULTICAST_OPTIONAL")
    session.run(f"{session.bin}/pytest", "tests/interop/multicast", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: the rules and the format."""
    install(session, "lint", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy and pyright, both strict; every public name has a type; the type tests hold under both."""
    install(session, "types", "peers")
    session.run("mypy", *present(TYPED))
    session.run("pyright", *present(TYPED))
    session.run("pyright", "--verifytypes", "trimq", "--ignoreexternal")


@nox.session
def trio_typing(session: nox.Session) -> None:
    """trimq's public names also check where trio-typing's stubs shadow trio's own types.

    The stubs lack much of today's trio, so trimq's own code is not checked here, only what a user writes
    against the installed package: the type tests, and each public name once.
    """
    install(session, "trio-typing")
    root = Path.cwd()
    files = [str(path.resolve()) for path in sorted(Path("tests/type_tests").glob("*.py"))]
    printed = session.run("python", "-P", "-c", EVERY_NAME, silent=True)
    # elsewhere, so that mypy takes the installed package and not the checkout, whose own errors it would report
    with session.chdir(session.create_tmp()):
        Path("every_name.py").write_text(str(printed), encoding="utf-8")
        session.run("mypy", "--config-file", str(root / "pyproject.toml"), "every_name.py", *files)


@nox.session
def docs(session: nox.Session) -> None:
    """The docs build, no reference is broken, and the news fragments read as a change log."""
    install(session, "docs")
    out = Path(session.create_tmp()).resolve()
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-b", "html", "-d", f"{out}/trees", "docs", f"{out}/html")
    version = session.run("python", "-P", "-c", "import trimq; print(trimq.__version__)", silent=True)
    session.run("towncrier", "build", "--draft", "--version", str(version).strip())


@nox.session
def bench(session: nox.Session) -> None:
    """How fast: every scenario beside its rivals in the same run (`-- --quick`: a tenth of the messages)."""
    install(session, "peers", "bench")
    out = str(Path(session.create_tmp()).resolve())
    session.env["TRIMQ_NPM"] = f"{out}/npm"
    session.run("python", "tests/bench/run.py", "--out", out, *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Whatever a peer or a file may say, guided by coverage (`-- --max-total-time 600 traffic`); not run by CI."""
    install(session, "test", "fuzz")
    session.run("python", "tests/fuzz/run.py", *session.posargs)
