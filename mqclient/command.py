"""Running an mq-client command whose arguments are known."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from mqclient.arguments import Action, Arguments
from mqclient.destination import parse_destination
from mqclient.discovery import RegistryAddress
from mqclient.errors import ClientError, InvalidDestination, InvalidUrl, TlsUnusable
from mqclient.factory import ConnectionFactory
from mqclient.settings import SettingsError, registry_address, tls_files
from mqclient.tls import TlsFiles
from mqclient.workers import Browser, Consumer, Producer, Worker

EXIT_DONE, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 130

POLL_S = 0.1
"""How often the main thread looks whether the workers are done; the original's 1 s showed."""

INTERRUPT_GRACE_S = 2.0
"""What workers get after Ctrl-C to finish the message and the transaction at hand."""

_WORKERS: Mapping[Action, type[Worker]] = {
    Action.PRODUCER: Producer,
    Action.CONSUMER: Consumer,
    Action.BROWSE: Browser,
}


class _News(logging.Filter):
    """Passes a line once: all threads wait for the same broker."""

    _last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is another line than the one before."""
        before, self._last = self._last, record.getMessage()
        return self._last != before


@dataclass(frozen=True, slots=True)
class Output:
    """Where lines go; each is flushed at once."""

    out: TextIO
    err: TextIO
    json: bool

    def say(self, line: str) -> None:
        """A line for the reader; with JSON, standard output is kept for the summary."""
        self._write(self.err if self.json else self.out, line)

    def complain(self, line: str) -> None:
        """A line about an error."""
        self._write(self.err, line)

    def summarize(self, summary: dict[str, object]) -> None:
        """The last line, if JSON was asked for."""
        if self.json:
            self._write(self.out, json.dumps(summary))

    def set_up_logging(self) -> None:
        """Have the library's log lines written in the original's form."""
        handler = logging.StreamHandler(self.err if self.json else self.out)
        handler.setFormatter(logging.Formatter("[%(name)s] : %(message)s"))
        logging.raiseExceptions = False  # a reader that went away is no reason for a traceback per line
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.WARNING)
        logging.getLogger("mqclient").setLevel(logging.INFO)
        self._tell_waits(handler.formatter)

    def _tell_waits(self, formatter: logging.Formatter | None) -> None:
        """That there is no broker people hear also when the output goes to a file, once for all threads."""
        handler = logging.StreamHandler(self.err)
        handler.setFormatter(formatter)
        handler.addFilter(_News())
        logger = logging.getLogger("mqclient.waiting")
        logger.handlers[:] = [handler]
        logger.propagate = False

    @staticmethod
    def _write(stream: TextIO, line: str) -> None:
        stream.write(line + "\n")
        stream.flush()


def run(arguments: Arguments, environment: Mapping[str, str], output: Output) -> int:
    """Do what the command line says; returns the exit code."""
    output.set_up_logging()
    destination = arguments.effective_destination
    output.say(f"Using destination: {destination}, on broker: {arguments.broker_url}")
    try:
        parse_destination(destination)
        properties = arguments.properties or {}
        registry = registry_address(properties, environment)
        factory = _factory(arguments, registry, tls_files(properties, environment))
    except (InvalidUrl, InvalidDestination) as error:
        output.complain(f"Invalid usage: {error}")
        return EXIT_USAGE
    except (SettingsError, TlsUnusable) as error:
        output.complain(f"Execution failed with: {error}")
        return EXIT_FAILED
    workers = [
        _WORKERS[arguments.action](number, factory, arguments, output.say)
        for number in range(arguments.parallel_threads)
    ]
    interrupted = _run_workers(workers)
    code = _report(workers, output, interrupted=interrupted)
    output.summarize(_summary(arguments, workers, code))
    return code


def _factory(arguments: Arguments, registry: RegistryAddress, tls: TlsFiles) -> ConnectionFactory:
    return ConnectionFactory(
        arguments.broker_url,
        arguments.user,
        arguments.password,
        zookeeper_url=registry.url,
        zookeeper_password=registry.password,
        zookeeper_channel=registry.channel,
        tls=tls,
    )


def _run_workers(workers: Sequence[Worker]) -> bool:
    """Run all workers to their end; returns whether Ctrl-C ended them."""
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while not worker.join(POLL_S):
                pass
    except KeyboardInterrupt:
        _interrupt(workers)
        return True
    return False


def _interrupt(workers: Sequence[Worker]) -> None:
    try:
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.join(INTERRUPT_GRACE_S / len(workers))
        if not all(worker.join(0) for worker in workers):
            for worker in workers:
                worker.break_off()
            for worker in workers:
                worker.join(INTERRUPT_GRACE_S)
    except KeyboardInterrupt:
        return  # a second Ctrl-C: at once, then


def _report(workers: Sequence[Worker], output: Output, *, interrupted: bool) -> int:
    failed = [worker for worker in workers if worker.result.error is not None]
    for worker in failed:
        output.complain(f"{worker.name}Execution failed with: {_explain(worker.result.error)}")
    messages = sum(worker.result.messages for worker in workers)
    if interrupted:
        output.say(f"Interrupted after {messages} messages")
        return EXIT_INTERRUPTED
    if failed:
        return EXIT_FAILED
    output.say("All threads completed their work")
    return EXIT_DONE


def _explain(error: BaseException | None) -> str:
    """An error with the first sentence of its class's docstring, which says what kind it is."""
    kind = (type(error).__doc__ or "").partition("\n")[0] if isinstance(error, ClientError) else ""
    return f"{kind} {error}".strip()


def _summary(arguments: Arguments, workers: Sequence[Worker], code: int) -> dict[str, object]:
    return {
        "action": arguments.action.value,
        "destination": arguments.effective_destination,
        "broker_url": arguments.broker_url,
        "exit_code": code,
        "messages": sum(worker.result.messages for worker in workers),
        "threads": [
            {
                "name": worker.name,
                "messages": worker.result.messages,
                "elapsed_ms": int(worker.result.elapsed_s * 1000),
                "error": None if worker.result.error is None else _explain(worker.result.error),
            }
            for worker in workers
        ],
    }
