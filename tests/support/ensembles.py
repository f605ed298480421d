"""What tests see of a fabric's own ensemble while its servers get other certificates."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable

from support.fabric import FabricForTests

from fabric.ensembles import ServerState, parse_state
from registry import paths
from registry.encryption import shown_by
from registry.session import SessionState


def port_of(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def server_states(fabric: FabricForTests, names: Iterable[str]) -> dict[str, ServerState]:
    """What each container says of its server."""
    with fabric.registry() as session:
        return {name: parse_state(session.get(paths.ensemble_server_state(name)).data) for name in names}


class Writer:
    """A client that writes all the time, and notes how long it had to wait."""

    def __init__(self, fabric: FabricForTests) -> None:
        self._stop = threading.Event()
        self.longest_wait_s = 0.0
        self.problems: list[str] = []
        with fabric.registry() as session:
            session.put("/fabric/written", b"0")
        self._fabric = fabric
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        try:
            with self._fabric.registry() as session:
                session.add_state_listener(self._state_changed)
                session.follow_password()
                session_id, number = session.session_id, 0
                while not self._stop.is_set():
                    number, begun_s = number + 1, time.monotonic()
                    session.put("/fabric/written", str(number).encode())
                    self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - begun_s)
                assert session.session_id == session_id
                assert session.get("/fabric/written").data == str(number).encode()
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.problems.append(repr(error))

    def _state_changed(self, state: SessionState) -> None:
        if state is SessionState.LOST:
            self.problems.append("the session is lost")


class Watchman:
    """Looks all the time how many servers do not answer."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.away_max = 0
        self.were_away: set[int] = set()

    def __enter__(self) -> "Watchman":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            away = {port for port in self._ports if not self.is_up(port)}
            self.away_max = max(self.away_max, len(away))
            self.were_away |= away

    def is_up(self, port: int) -> bool:
        """Whether the server at a port of this host answers."""
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"ruok")
                return connection.recv(4) == b"imok"
        except OSError:
            return False


def leaf_of(fabric: FabricForTests, container: str) -> bytes:
    """The certificate that lies there for a container (DER)."""
    text = fabric.home.container_certificate(container).read_text()
    return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25])


def all_show(fabric: FabricForTests, containers: dict[str, str]) -> Callable[[], bool]:
    """Whether each container's server shows what lies there now, by address for clients."""

    def do() -> bool:
        return all(
            shown_by(port_of(address), 5) == leaf_of(fabric, name) for name, address in containers.items()
        )

    return do


def said(fabric: FabricForTests, names: list[str]) -> list[tuple[str, list[str]]]:
    """Who has signed what each container's server shows, and whom it trusts."""
    with fabric.registry() as session:
        nodes = [session.get_or_none(paths.ensemble_server_certificates(name)) for name in names]
    records = [json.loads(node.data) for node in nodes if node is not None]
    return [(record["signer"], record["trusted"]) for record in records]


def log_of(fabric: FabricForTests, *names: str) -> list[tuple[str, str]]:
    """What the containers' logs say of restarts: time and what, in order."""
    lines = []
    for name in names:
        for line in fabric.home.container(name).log.read_text().splitlines():
            for what in ("is restarted for its new certificate;", "serves again, with its new certificate"):
                if what in line:
                    lines.append((line[:23], what))
    return sorted(lines)
