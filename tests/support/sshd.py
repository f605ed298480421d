"""A real sshd for tests: on loopback, with keys and a configuration of its own, as the user of the tests."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

CONFIGURATION = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
LogLevel VERBOSE
"""


@dataclass
class Sshd:
    """One that runs."""

    folder: Path
    address: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def user(self) -> str:
        """Who may log in."""
        return getpass.getuser()

    @property
    def key(self) -> Path:
        """The private key that it knows."""
        return self.folder / "user_key"

    @property
    def locked_key(self) -> Path:
        """One with the pass phrase `open sesame`."""
        return self.folder / "locked_key"

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def known_hosts(self, name: str = "known_hosts") -> Path:
        """A file of known hosts that knows it."""
        path = self.folder / name
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        path.write_text(f"[{self.address}]:{self.port} {kind} {key}\n")
        return path


def make_key(path: Path, pass_phrase: str = "") -> None:
    """Make a pair of keys."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", pass_phrase, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running_sshd(folder: Path, address: str = "127.0.0.1") -> Iterator[Sshd]:
    """Run one in this folder."""
    assert SSHD, "sshd is missing: ./dev test installs it"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    make_key(folder / "locked_key", "open sesame")
    keys = [(folder / f"{name}.pub").read_text() for name in ("user_key", "locked_key")]
    (folder / "authorized_keys").write_text("".join(keys))
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    configuration = folder / "sshd_config"
    configuration.write_text(CONFIGURATION.format(folder=folder, address=address, port=port))
    if os.geteuid() == 0:  # where sshd, run by root, locks itself in
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-f", str(configuration), "-E", str(folder / "sshd.log")])
    sshd = Sshd(folder, address, port, process)
    try:
        wait_until(lambda: _listens(address, port), 30, lambda: sshd.log)
        yield sshd
    finally:
        process.terminate()
        process.wait(30)


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
