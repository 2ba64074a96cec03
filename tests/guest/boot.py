"""Runs a command in a small Linux guest that has AF_VSOCK within itself and AF_TIPC: ``boot.py FOLDER COMMAND...``.

The guest is Debian's User-Mode Linux, a process of about two seconds. Where that does not boot it is Debian's kernel in
qemu's emulation, which takes some nine and computes slowly. ``TRIMQ_GUEST_KERNEL`` (``uml`` or ``qemu``) picks one. Its root
is this machine's own file system, read-only, so that every path means the same inside; it can write to /run (HOME and
TMPDIR) and to /dev/shm. There is no network but loopback. What the command prints is printed, and its exit code is the exit
code; 124 if it ran for too long.

FOLDER keeps the kernels. Needed packages are installed by apt-get, the kernels only unpacked. Where no guest boots, the exit
code is 125, and the file FOLDER/cannot-boot says why.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 480  # seconds for boot and command
TOO_LONG, NO_GUEST = 124, 125
MEMORY = 768  # MB
INHERITED = ("CI", "PYTEST_", "PYTHON", "TRIMQ_")  # what the names of variables begin with that the command gets, too

# The guest's first process. One that ends is a kernel panic, which is what the first lines want: no guest, then.
INIT = """\
#!/bin/bash
set -e
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
export HOME=/run TMPDIR=/run TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TRIMQ_GUEST=1
{environment}
modprobe -d {kernel} -a vsock_loopback tipc
tipc node set address 1.1.1  # as nodes of a cluster have one; libzmq looks nowhere else unless it is told to
ip link set lo up
cd {here}
stty -F {tty} raw
set +e
{command} >{tty} 2>&1 </dev/null
status=$?
mkdir /run/out && mount -t {share} /run/out && echo $status >/run/out/status && umount /run/out
sleep 0.1  # until the console is written
echo o >/proc/sysrq-trigger
sleep 60
"""


class NoGuest(Exception):
    """There can be no guest here; the reason."""


def run(command: Sequence[str], **options: object) -> str:
    """Runs a command of the preparations; returns what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"} | {
        "DEBIAN_FRONTEND": "noninteractive"
    }
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
        raise NoGuest(f"{shlex.join(command)}: {lines[-1]}")
    return str(done.stdout)


# Packages


def apt(*arguments: str, **options: object) -> str:
    """apt-get; if that fails, once more with fresh lists."""
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120"]
    try:
        return run([*command, *arguments], **options)
    except NoGuest:
        run([*command, "update"])
        return run([*command, *arguments], **options)


def need(**packages: str) -> None:
    """Installs Debian's packages whose commands are missing: command=package."""
    missing = [package for command, package in packages.items() if shutil.which(command.replace("_", "-")) is None]
    if missing:
        apt("install", "-y", "--no-install-recommends", *missing)


def unpack(package: str, folder: Path) -> Path:
    """A package's files, not installed."""
    target = folder / package
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as name:
            apt("download", package, cwd=name)
            [archive] = Path(name).glob("*.deb")
            run(["dpkg-deb", "-x", str(archive), f"{name}/root"])
            os.rename(f"{name}/root", target)
    return target


# Guests: each is prepared in a folder of its own; returns the init script's words, and the command that boots it


def uml(folder: Path, made: Path) -> tuple[dict[str, str], list[str]]:
    """User-Mode Linux, over hostfs."""
    kernel = unpack("user-mode-linux", folder)
    if not (kernel / "lib").exists():
        (kernel / "lib").symlink_to("usr/lib/uml")  # modprobe looks into DIR/lib/modules
    library = made / "xstate.so"
    run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(HERE / "xstate.c")])
    # Its memory is a file, which a folder must hold and may map as executable.
    room = "/dev/shm" if shutil.disk_usage("/dev/shm").free > MEMORY << 20 else str(made)
    command = [
        *(
            "env",
            "-u",
            "TMP",
            "-u",
            "TEMP",
            f"TMPDIR={room}",
            f"LD_PRELOAD={library}",
            str(kernel / "usr/bin/linux.uml"),
        ),
        *("quiet", f"mem={MEMORY}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={made}/init"),
        *(f"uml_dir={made}/", "umid=uml", "con=null", "con0=null,fd:2", "ssl=null", "ssl0=null,fd:1"),
    ]
    return {"kernel": str(kernel), "tty": "/dev/ttyS0", "share": f"hostfs -o {made} none"}, command


def qemu(folder: Path, made: Path) -> tuple[dict[str, str], list[str]]:
    """Debian's kernel in emulation, over 9p."""
    need(qemu_system_x86_64="qemu-system-x86", cpio="cpio", busybox="busybox-static")
    today = re.search(r"Depends: (linux-image-\S+)", run(["apt-cache", "depends", "linux-image-amd64"]))
    if today is None:
        raise NoGuest("apt-cache does not know which kernel linux-image-amd64 is")
    kernel = unpack(today[1], folder)
    [modules] = (kernel / "lib/modules").iterdir()
    if not (modules / "modules.dep").exists():
        run(["depmod", "-b", str(kernel), modules.name])
    busybox = shutil.which("busybox")
    assert busybox is not None
    tree = made / "tree"
    for name in ("bin", "dev", "proc", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    lines = ["#!/bin/busybox sh", "alias b=/bin/busybox", "b mount -t proc proc /proc"]
    names = ["virtio_pci", "9pnet_virtio", "9p"]
    listed = run(["modprobe", "-d", str(kernel), "-S", modules.name, "--show-depends", "-a", *names])
    for path in dict.fromkeys(line.split()[1] for line in listed.splitlines() if line.startswith("insmod ")):
        shutil.copy(path, tree)
        lines.append(f"b insmod /{Path(path).name}")
    lines += [
        "b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /root",
        "b mount -t devtmpfs dev /root/dev",
        f"exec /bin/busybox chroot /root {made}/init",
    ]
    (tree / "init").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tree / "init").chmod(0o755)
    run(["sh", "-c", f"find . | cpio -o -H newc --quiet >{shlex.quote(str(made))}/initrd"], cwd=tree)
    shared = "security_model=none,multidevs=remap"
    command = [
        *(
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "1024",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ),
        *("-no-reboot", "-kernel", f"{kernel}/boot/vmlinuz-{modules.name}", "-initrd", f"{made}/initrd"),
        *("-append", "console=ttyS0 quiet panic=-1", "-serial", "file:/dev/stderr", "-serial", "stdio"),
        *("-virtfs", f"local,path=/,mount_tag=root,readonly=on,{shared}"),
        *("-virtfs", f"local,path={made},mount_tag=made,{shared}"),
    ]
    return {"kernel": str(kernel), "tty": "/dev/ttyS1", "share": "9p -o trans=virtio,version=9p2000.L made"}, command


GUESTS: dict[str, Callable[[Path, Path], tuple[dict[str, str], list[str]]]] = {"uml": uml, "qemu": qemu}


def boot(guest: str, folder: Path, wanted: Sequence[str]) -> int:
    """Boots a guest and runs the command in it; returns its exit code.

    Raises:
      NoGuest: it did not come to that.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        made = Path(name)
        words, command = GUESTS[guest](folder, made)
        kept = {key: value for key, value in os.environ.items() if key.startswith(INHERITED)}
        kept |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": f"{kept.get('PYTEST_ADDOPTS', '')} -p no:cacheprovider",
        }
        exports = "\n".join(f"export {key}={shlex.quote(value)}" for key, value in kept.items())
        here = shlex.quote(os.getcwd())
        (made / "init").write_text(
            INIT.format(**words, environment=exports, here=here, command=shlex.join(wanted)), encoding="utf-8"
        )
        (made / "init").chmod(0o755)
        # In a process namespace of its own, so that nothing of the guest outlives it; and not as that namespace's first
        # process, which would not get the signal that ends UML's panic.
        contained = ["unshare", "--pid", "--fork", "--kill-child", "bash", "-c", '"$@"; exit $?', "-", *command]
        with (
            open(made / "log", "wb") as log,
            subprocess.Popen(contained, stdin=subprocess.DEVNULL, stderr=log) as process,
        ):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        log_text = (made / "log").read_text(encoding="utf-8", errors="replace")
        if (made / "status").exists():
            return int((made / "status").read_text(encoding="utf-8"))
        if process.returncode < 0:
            print(f"{guest}: still not done after {PATIENCE} s", log_text, sep="\n", file=sys.stderr)
            return TOO_LONG
        print(log_text, file=sys.stderr)
        said = [line.strip() for line in log_text.partition("Kernel panic")[0].splitlines() if line.strip()]
        raise NoGuest(f"{guest} did not boot, or died: {said[-1] if said else 'it said nothing'}")


def check_machine() -> None:
    """Whether this machine can have a guest at all.

    Raises:
      NoGuest: it cannot.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoGuest(f"the guests are for Linux on x86-64, and this is {platform.system()} on {platform.machine()}")
    if os.geteuid() != 0:
        raise NoGuest("it takes root, to install packages and to see to it that no process is left behind")
    if shutil.which("apt-get") is None:
        raise NoGuest("this machine is not Debian: there is no apt-get")
    need(modprobe="kmod", cc="gcc", ip="iproute2", unshare="util-linux", socat="socat")


def main(folder: Path, wanted: Sequence[str]) -> int:
    """Boots whichever guest there can be; returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = folder / "cannot-boot"
    verdict.unlink(missing_ok=True)
    chosen = os.environ.get("TRIMQ_GUEST_KERNEL")
    if chosen not in (None, *GUESTS):
        sys.exit(f"TRIMQ_GUEST_KERNEL is {' or '.join(GUESTS)}, or not set, and not {chosen!r}")
    reasons: list[str] = []
    try:
        check_machine()
    except NoGuest as error:
        reasons.append(str(error))
    else:
        for guest in [chosen] if chosen else GUESTS:
            try:
                return boot(guest, folder, wanted)
            except NoGuest as error:
                reasons.append(str(error))
    verdict.write_text("; ".join(reasons) + "\n", encoding="utf-8")
    print(f"no guest: {'; '.join(reasons)}", file=sys.stderr)
    return NO_GUEST


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
