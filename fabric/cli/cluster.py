"""`cluster-list`: who is master, who is slave."""

import click

from fabric.cli.context import CommandContext, command
from fabric.cli.output import output_option, render, show_registry, watch_option
from fabric.clusters import cluster_path, cluster_table, read_clusters, verbose_table


@command(
    "cluster-list",
    examples=[
        "fabric cluster-list",
        "fabric cluster-list amq/default --watch",
        "fabric cluster-list amq/default --output json",
    ],
)
@click.argument("path", default="")
@click.option("-v", "--verbose", is_flag=True, help="One line per service, with each member's znode.")
@output_option
@watch_option
def cluster_list(context: CommandContext, path: str, verbose: bool, output: str, watch: bool) -> None:
    """List the clusters with their masters, slaves and services.

    PATH names a part of the registry below its clusters, such as amq/default; without it all are listed.
    """
    base = cluster_path(path)
    session = context.session

    def draw() -> str:
        rows = read_clusters(session, base)
        if output == "table" and not rows and not session.exists(base):
            return f"No cluster information for path {base}"
        table = verbose_table if verbose else cluster_table
        return render(output, [row.to_json() for row in rows], lambda: table(rows, base))

    show_registry(context, base, draw, watch=watch)
