# SPDX-License-Identifier: Apache-2.0
"""A separate Debian system for the packages: a root folder made once by debootstrap, layers over it, and one that is
booted."""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from tests.harness.commands import run
from tests.harness.environment import ROOT
from tests.harness.waiting import wait_until

CACHE = pathlib.Path(os.environ.get("CULVERT_SCRATCH", ROOT / "build/scratch"))
MIRROR = os.environ.get("CULVERT_MIRROR", "http://deb.debian.org/debian")
PEER = pathlib.Path(__file__).resolve().parent / "download_peer.py"
BASE = ["systemd", "systemd-sysv", "dbus", "openssl", "passwd", "procps", "man-db", "bash-completion", "iproute2"]
# What every installation and every running system writes.
VOLATILE = re.compile(r"/(proc|sys|dev|run|tmp|root|var/(log|cache|tmp|lib/(apt|dpkg|systemd|man-db|dbus))|"
                      r"etc/(passwd|group|shadow|gshadow)-|"
                      r"etc/(machine-id|ld\.so\.cache|\.pwd\.lock|resolv\.conf|hostname|mtab|\.updated)|"
                      r"etc/(subuid-?|subgid-?)|usr/share/mime|var/\.updated)")


def field(package, name):
    return run("dpkg-deb", "--field", package, name).strip()


def base_root(packages):
    """A root with everything that the packages depend on, so that installing them needs no network."""
    wanted = sorted({re.split(r"[ |(]", part.strip())[0] for package in packages
                     for part in field(package, "Depends").split(",")})
    key = hashlib.sha256(" ".join([MIRROR, *BASE, *wanted]).encode()).hexdigest()[:16]
    root = CACHE / f"bookworm-{key}"
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = root.with_suffix(f".{os.getpid()}")
        try:
            run("debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", "bookworm", fresh, MIRROR,
                seconds=1800)
            # debootstrap does not know virtual packages.
            run("chroot", fresh, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *wanted,
                seconds=1800,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
            run("chroot", fresh, "apt-get", "clean")
            (fresh / "etc/hosts").write_text("127.0.0.1 localhost\n")
            fresh.rename(root)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return root


def files_of(root):
    """Every path below it except VOLATILE ones, with its kind, mode and owner."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            inside = path.removeprefix(str(root))
            if not VOLATILE.match(inside):
                state = os.lstat(path)
                found[inside] = (oct(state.st_mode), state.st_uid, state.st_gid)
        folders[:] = [name for name in folders if not VOLATILE.match(os.path.join(folder, name).removeprefix(str(root))
                                                                     + "/")]
    return found


class System:
    """A layer over the base root, in which commands can be run. Removed at the end of the with block."""

    def __init__(self, base, name):
        self.folder = CACHE / f"{name}.{os.getpid()}"
        self.root = self.folder / "root"
        self.base = base

    def __enter__(self):
        for name in ("changes", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={self.base},upperdir={self.folder}/changes,workdir={self.folder}/work"
        run("mount", "-t", "overlay", "culvert-scratch", "-o", layers, self.root)
        return self

    def __exit__(self, *_):
        run("umount", "--lazy", self.root)
        shutil.rmtree(self.folder)

    def run(self, *command, seconds=300, **keywords):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                       "DEBIAN_FRONTEND": "noninteractive"}
        return run(*self.entry(), *command, seconds=seconds, env=environment, **keywords)

    def entry(self):
        return ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc=/proc",
                f"--root={self.root}"]

    def give(self, *packages):
        for package in packages:
            shutil.copy(package, self.root / "root")

    def apt(self, *arguments, **keywords):
        return self.run("apt-get", "--yes", "--quiet", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root",
                        *arguments, **keywords)

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def has_user(self, name):
        return re.search(rf"(?m)^{name}:", (self.root / "etc/passwd").read_text()) is not None


class Booted(System):
    """The same, booted by systemd-nspawn: with an init, a journal and its own network."""

    def __enter__(self):
        super().__enter__()
        self.log = self.folder / "console.log"
        self.peers = []
        with open(self.log, "wb") as sink:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--register=no", "--keep-unit", "--boot", "--private-network", "--console=pipe",
                 f"--directory={self.root}"],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        try:
            self.init = wait_until(self.find_init, 30, "the container's init", every=0.1)
            wait_until(self.is_up, 120, "the container to boot", every=0.1)
        except AssertionError as error:
            console = self.log.read_text(errors="replace")[-4000:]
            self.__exit__()
            raise AssertionError(f"systemd-nspawn cannot boot a container here: {error}\n{console}") from None
        return self

    def find_init(self):
        if self.nspawn.poll() is not None:
            raise AssertionError(f"systemd-nspawn exited with {self.nspawn.returncode}")
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if "systemd" in os.readlink(f"/proc/{child}/exe") and "nspawn" not in os.readlink(f"/proc/{child}/exe"):
                    return int(child)
        return None

    def is_up(self):
        return self.run("systemctl", "is-system-running", status=None).strip() in ("running", "degraded")

    def entry(self):
        return ["nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/"]

    def peer(self, *arguments):
        """Starts download_peer.py on the host, in the network of the container."""
        process = subprocess.Popen(["nsenter", f"--target={self.init}", "--net", sys.executable, "-B", str(PEER),
                                    *map(str, arguments)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.peers.append(process)
        return process

    def __exit__(self, *_):
        for process in self.peers:
            process.kill()
            process.communicate()
        if getattr(self, "init", None):
            with contextlib.suppress(OSError):
                os.kill(self.init, signal.SIGRTMIN + 4)  # poweroff
        try:
            self.nspawn.wait(timeout=30)
        except subprocess.TimeoutExpired:
            # Killing nspawn itself would leave the init running.
            with contextlib.suppress(OSError):
                os.kill(getattr(self, "init", None) or self.nspawn.pid, signal.SIGKILL)
            self.nspawn.wait(timeout=30)
        super().__exit__()
