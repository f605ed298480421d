"""The `queue-…` commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fabric.cli.broker_access import BrokerAccess, broker_options, confirm, limit_option, moment, yes_option
from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, print_records, watch_option
from fabric.table import Table, fact

F = TypeVar("F", bound=Callable[..., Any])

DEAD_LETTERS = "ActiveMQ.DLQ"


def selection_options(function: F) -> F:
    """Add `--selector`, `--id`, `--ref` and `--count`, which select messages together."""
    for option in (
        click.option(
            "--count", type=click.IntRange(min=1), help="At most so many, the oldest.  [default: all]"
        ),
        click.option(
            "--ref", "refs", multiple=True, type=int, help="Only the one with this number; repeatable."
        ),
        click.option("--id", "ids", multiple=True, help="Only those with this message id; repeatable."),
        click.option("--selector", help="Only those it matches, such as \"color = 'red'\"."),
    ):
        function = option(function)
    return function


def selection(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a request for what the options select."""
    return {
        "selector": given["selector"],
        "ids": list(given["ids"]) or None,
        "refs": list(given["refs"]) or None,
        "count": given["count"],
    }


def _is_all(given: dict[str, Any]) -> bool:
    return not any(given[name] for name in ("selector", "ids", "refs", "count"))


# queue-list


@command(
    "queue-list",
    examples=[
        "fabric queue-list",
        "fabric queue-list 'orders.>' --watch",
        "fabric queue-list --group default --broker tolerantbroker --output json",
    ],
)
@click.argument("filter_text", metavar="[FILTER]", default="")
@broker_options
@output_option
@watch_option
def queue_list(
    context: CommandContext, broker: BrokerAccess, *, filter_text: str, output: str, watch: bool
) -> None:
    """List the queues of a broker: what they hold, who uses them, and what has happened.

    FILTER is a wildcard such as 'orders.>', a pattern such as 'ord*', or a part of the name.
    """
    del context
    broker.show_records(
        lambda: broker.items("queues", filter=filter_text), _queue_table, output=output, watch=watch
    )


def _queue_table(records: list[dict[str, Any]]) -> Table:
    table = Table(
        "queue", "size", "in flight", "consumers", "producers", "enqueued", "dequeued", "expired", "state"
    )
    for record in records:
        counters = record["counters"]
        table.add_row(
            record["name"],
            *(str(record[name]) for name in ("size", "in_flight", "consumers", "producers")),
            *(str(counters[name]) for name in ("enqueued", "dequeued", "expired")),
            "paused" if record["paused"] else "temporary" if record["temporary"] else "",
        )
    return table


# queue-browse


@command(
    "queue-browse",
    examples=[
        "fabric queue-browse orders.failed",
        "fabric queue-browse orders.failed --selector \"customer = 'x'\" --limit 5 --verbose",
        "fabric queue-browse ActiveMQ.DLQ --output json",
    ],
)
@click.argument("queue")
@broker_options
@click.option("--selector", default="", help="Only those it matches, such as \"color = 'red'\".")
@limit_option
@click.option(
    "--preview",
    type=click.IntRange(0, 65_536),
    help="Characters of each body.  [default: 60, with --verbose 1000]",
)
@click.option("-v", "--verbose", is_flag=True, help="All headers and properties of each message.")
@output_option
def queue_browse(
    context: CommandContext,
    broker: BrokerAccess,
    *,
    queue: str,
    selector: str,
    limit: int,
    preview: int | None,
    verbose: bool,
    output: str,
) -> None:
    """Show the messages of QUEUE, the oldest first, without taking them."""
    del context
    characters = preview if preview is not None else 1000 if verbose or output != "table" else 60
    found = broker.items("browse", limit, queue=queue, selector=selector, preview=characters)
    records = list(found)
    print_records(output, records, lambda: _messages_text(records) if verbose else _message_table(records))


def _message_table(records: list[dict[str, Any]]) -> Table:
    table = Table("ref", "message id", "sent", "priority", "deliveries", "state", "size", "body")
    for record in records:
        table.add_row(
            str(record["ref"]),
            record["id"],
            moment(record["timestamp"]),
            *(str(record[name]) for name in ("priority", "deliveries", "state", "size")),
            _one_line(record),
        )
    return table


def _messages_text(records: list[dict[str, Any]]) -> str:
    return "\n\n".join("\n".join(_message_lines(record)) for record in records)


def _message_lines(record: dict[str, Any]) -> list[str]:
    facts = {
        "Message ID": record["id"],
        "Ref": record["ref"],
        "State": record["state"],
        "Deliveries": record["deliveries"],
        "Destination": record["destination"],
        "Original Destination": record["original_destination"],
        "Delivery Mode": "persistent" if record["persistent"] else "non-persistent",
        "Priority": record["priority"],
        "Sent": moment(record["timestamp"]),
        "Expires": moment(record["expiration"]),
        "Correlation ID": record["correlation_id"],
        "Reply To": record["reply_to"],
        "Type": record["type"],
        "Group": record["group_id"],
        "User": record["user_id"],
        **{f"  {name}": value for name, value in record["properties"].items()},
        "Body": f"{record['body_kind']}, {record['size']} bytes",
    }
    lines = [fact(f"{name}:", str(value)) for name, value in facts.items() if value not in ("", None)]
    return [*lines, *([_shown(record)] if record["preview"] else [])]


def _shown(record: dict[str, Any]) -> str:
    return f"{record['preview']}{' …' if record['cut'] else ''}"


def _one_line(record: dict[str, Any]) -> str:
    return " ".join(_shown(record).split())


# queue-purge, -move, -copy, -retry


@command(
    "queue-purge",
    examples=[
        "fabric queue-purge orders.failed",
        "fabric queue-purge orders.failed --selector 'attempts > 5' --yes",
        "fabric queue-purge orders.failed --ref 4711",
    ],
)
@click.argument("queue")
@broker_options
@selection_options
@yes_option
@output_option
def queue_purge(
    context: CommandContext,
    broker: BrokerAccess,
    *,
    queue: str,
    yes: bool,
    output: str,
    **given: Any,  # noqa: ANN401 - the options that select messages
) -> None:
    """Remove messages of QUEUE: all that wait, or those selected. Those at consumers stay."""
    del context
    which = "all messages" if _is_all(given) else "the selected messages"
    confirm(f"Remove {which} of {queue}?", yes=yes)
    _report(output, "purged", broker.change("purged", "purge", queue=queue, **selection(given)))


@command(
    "queue-move",
    examples=[
        "fabric queue-move orders.failed orders",
        "fabric queue-move orders orders.red --selector \"color = 'red'\" --count 100",
    ],
)
@click.argument("queue")
@click.argument("target")
@broker_options
@selection_options
@output_option
def queue_move(
    context: CommandContext,
    broker: BrokerAccess,
    *,
    queue: str,
    target: str,
    output: str,
    **given: Any,  # noqa: ANN401 - the options that select messages
) -> None:
    """Move messages of QUEUE to TARGET: all that wait, or those selected. Those at consumers stay.

    TARGET is the name of a queue, queue://NAME or topic://NAME; it is made if it does not exist.
    """
    del context
    _report(output, "moved", broker.change("moved", "move", queue=queue, target=target, **selection(given)))


@command(
    "queue-copy",
    examples=["fabric queue-copy orders orders.test --count 10"],
)
@click.argument("queue")
@click.argument("target")
@broker_options
@selection_options
@output_option
def queue_copy(
    context: CommandContext,
    broker: BrokerAccess,
    *,
    queue: str,
    target: str,
    output: str,
    **given: Any,  # noqa: ANN401 - the options that select messages
) -> None:
    """Send copies of QUEUE's messages to TARGET: of all that wait, or of those selected."""
    del context
    _report(output, "copied", broker.change("copied", "copy", queue=queue, target=target, **selection(given)))


@command(
    "queue-retry",
    examples=[
        "fabric queue-retry",
        "fabric queue-retry ActiveMQ.DLQ.Queue.orders --count 10",
    ],
)
@click.argument("queue", default=DEAD_LETTERS)
@broker_options
@selection_options
@output_option
def queue_retry(
    context: CommandContext,
    broker: BrokerAccess,
    *,
    queue: str,
    output: str,
    **given: Any,  # noqa: ANN401 - the options that select messages
) -> None:
    """Give messages of QUEUE, a dead letter queue, back to where they were before.

    Without QUEUE those of ActiveMQ.DLQ.
    """
    del context
    _report(output, "given back", broker.change("given back", "retry", queue=queue, **selection(given)))


def _report(output: str, done: str, job: dict[str, Any]) -> None:
    def text() -> str:
        parts = [f"{job['changed']} messages {done}"]
        if job["skipped"]:
            parts.append(f"{job['skipped']} cannot be and stay")
        if job["left"]:
            parts.append(f"{job['left']} are at consumers and stay there")
        return ", ".join(parts) + "."

    print_records(output, job, text)


# queue-delete, -pause, -resume


@command("queue-delete", examples=["fabric queue-delete orders.old", "fabric queue-delete orders.old --yes"])
@click.argument("queue")
@broker_options
@yes_option
def queue_delete(context: CommandContext, broker: BrokerAccess, *, queue: str, yes: bool) -> None:
    """Delete QUEUE with the messages it holds. It must have no consumers."""
    del context
    found = broker.ask("queue", queue=queue)
    confirm(f"Delete the queue {queue} with its {found['size']} messages?", yes=yes)
    job = broker.change("removed", "delete", destination=f"queue://{queue}")
    click.echo(f"Queue {queue} is deleted, with {job['changed']} messages.")


@command("queue-pause", examples=["fabric queue-pause orders"])
@click.argument("queue")
@broker_options
def queue_pause(context: CommandContext, broker: BrokerAccess, *, queue: str) -> None:
    """Dispatch no more messages of QUEUE; sends go on.

    It ends with queue-resume, or when another broker becomes the master.
    """
    del context
    broker.change("paused", "pause", queue=queue)
    click.echo(f"Queue {queue} is paused.")


@command("queue-resume", examples=["fabric queue-resume orders"])
@click.argument("queue")
@broker_options
def queue_resume(context: CommandContext, broker: BrokerAccess, *, queue: str) -> None:
    """Dispatch messages of QUEUE again."""
    del context
    broker.change("resumed", "resume", queue=queue)
    click.echo(f"Queue {queue} is not paused any more.")
