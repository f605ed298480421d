"""One broker without elections, for benchmarks: what `python -m broker` runs as a master, on a watched disk.

Prints a line when it serves, and a line for each line it reads: figures as JSON. Ends when its input ends.
Run by `perf.bench_broker`.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perf.moves_off import without_moves
from perf.process_facts import memory
from perf.watched_files import WatchedFiles
from twisted.internet.defer import Deferred

from broker.config import BrokerConfig
from broker.mastership import Mastership
from broker.polling import install_reactor
from broker.process import prepare_process
from broker.reactor import in_thread
from broker.security import PasswordAuthenticator
from journal import upkeep
from journal.files import PosixFiles, create_store
from registry.users import UserRecord, hash_password

install_reactor()
from twisted.internet import reactor  # noqa: E402 - not before it is installed


def say(facts: dict[str, Any]) -> None:
    """One line for the benchmark."""
    print(json.dumps(facts), flush=True)


class BenchmarkedBroker:
    """A mastership on a watched disk, and the dialogue with the benchmark."""

    def __init__(self, data: Path, delay_s: float, *, watched: bool, properties: dict[str, str]) -> None:
        create_store(data)
        self.files = WatchedFiles(PosixFiles(data), delay_s)
        named = {"data": str(data), "broker-name": "bench"}
        config = BrokerConfig.from_properties({**properties, **named}, container="bench")
        users = PasswordAuthenticator(
            lambda call, done: in_thread(reactor, call).addCallback(done),
            {"admin": UserRecord("admin", hash_password("admin"), ("admin",))},
        )
        self.mastership = Mastership(
            reactor,
            config,
            bind_address="127.0.0.1",
            advertised_host="127.0.0.1",
            owner="benchmark",
            users=users,
            on_failed=lambda _, error: self.fail(error),
            files=self.files if watched else None,
        )
        self.failed = False

    def fail(self, error: object) -> None:
        """Nothing can be measured any more."""
        self.failed = True
        print(f"the broker failed: {error}", file=sys.stderr, flush=True)
        reactor.callFromThread(reactor.stop)

    async def run(self) -> None:
        """Serve, then answer the benchmark's questions until it has none left."""
        began = time.perf_counter()
        urls = await self.mastership.begin()
        opened_s = time.perf_counter() - began
        ports = {url.scheme: url.port for url in map(urlsplit, urls)}
        say({"port": urlsplit(urls[0]).port, "ports": ports, "opened_s": opened_s, **self.facts()})
        threading.Thread(target=self._listen, daemon=True).start()

    def facts(self) -> dict[str, Any]:
        """What was seen so far."""
        used = memory()
        return {
            "watch": self.files.watch.to_json(),
            "cpu_s": time.process_time(),
            "owner_cpu_s": time.thread_time(),
            "memory": used.now,
            "memory_peak": used.peak,
        }

    def _listen(self) -> None:
        for _ in sys.stdin:
            reactor.callFromThread(lambda: say(self.facts()))
        reactor.callFromThread(lambda: self._failing(self._end()))

    async def _end(self) -> None:
        await self.mastership.close()
        await self.mastership.drop_clients()
        reactor.stop()

    def start(self) -> None:
        """To be called when the reactor runs."""
        self._failing(self.run())

    def _failing(self, steps: Any) -> None:
        Deferred.fromCoroutine(steps).addErrback(lambda failure: self.fail(failure.getTraceback()))


def main(arguments: list[str]) -> int:
    """Run until the benchmark has no more questions."""
    parser = argparse.ArgumentParser(prog="python -m perf.broker_process")
    parser.add_argument("data", type=Path)
    parser.add_argument("--sync-delay-ms", type=float, default=0.0)
    parser.add_argument("--checkpoint-share", type=int, default=upkeep.CHECKPOINT_SHARE)
    parser.add_argument("--unwatched", action="store_true", help="spare the 4 µs that watching costs a sync")
    parser.add_argument("--no-moves", action="store_true", help="compact nothing")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--property", action="append", default=[], help="NAME=VALUE of its configuration")
    wanted = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    prepare_process()
    upkeep.CHECKPOINT_SHARE = wanted.checkpoint_share
    if wanted.no_moves:
        without_moves()
    broker = BenchmarkedBroker(
        wanted.data,
        wanted.sync_delay_ms / 1000,
        watched=not wanted.unwatched,
        properties=dict(each.split("=", 1) for each in wanted.property),
    )
    reactor.callWhenRunning(broker.start)
    if wanted.profile is None:
        reactor.run()
    else:
        profile = cProfile.Profile()
        profile.runcall(reactor.run)
        profile.dump_stats(wanted.profile)
    return 1 if broker.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
