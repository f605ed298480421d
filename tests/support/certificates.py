"""Certificates for tests: the fabric's own authority, and contexts of clients."""

import datetime
import ssl
from pathlib import Path

from fabric.certificates import Authority

HOST = "localhost"
NOW = datetime.datetime.now(datetime.UTC)


class Keys:
    """An authority in a folder, a server's certificate and users'."""

    def __init__(self, folder: Path, now: datetime.datetime | None = None) -> None:
        self.folder = folder
        self.authority = Authority(folder, now)
        self.authority.create()
        self.trust = folder / "ca.pem"
        self.server = self.sign("server", HOST, "127.0.0.1")

    def sign(self, name: str, *hosts: str, days: int = 100) -> Path:
        """A server's certificate."""
        path = self.folder / f"{name}.pem"
        self.authority.sign_container(name, hosts, path, days)
        return path

    def user(self, name: str) -> Path:
        """A user's certificate."""
        path = self.folder / f"user-{name}.pem"
        self.authority.sign_user(name, path)
        return path

    def client(self, user: str = "") -> ssl.SSLContext:
        """A client that trusts the authority."""
        context = ssl.create_default_context(cafile=str(self.trust))
        if user:
            context.load_cert_chain(self.user(user))
        return context


def expired(folder: Path) -> Keys:
    """As `Keys`, whose server's certificate has expired yesterday; the authority has not."""
    keys = Keys(folder, NOW - datetime.timedelta(days=101))
    return keys
