"""The options that say how ZooKeeper is talked to: TLS, and a login by SASL.

Every command has them, since every command may be told of a fabric elsewhere; those that begin something with
an ensemble show them in their help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from fabric.cli.asking import ask_secret
from registry.channel import OPTIONS, ChannelSettings, make_channel
from registry.errors import ChannelIncomplete

_FILES = ("zookeeper_ca", "zookeeper_certificate", "zookeeper_key")


def channel_options(*, hidden: bool = False) -> list[click.Option]:
    """Return the options; each may also stand in the environment, under its name in capitals."""

    def option(name: str, text: str, **more: Any) -> click.Option:  # noqa: ANN401 - click's
        variable = name.removeprefix("--").replace("-", "_").upper()
        return click.Option([name], envvar=variable, hidden=hidden, help=text, **more)

    file = click.Path(path_type=Path, dir_okay=False)
    return [
        option("--zookeeper-tls", "Talk to ZooKeeper by TLS only.", is_flag=True, default=None),
        option(
            "--zookeeper-ca",
            "PEM file of the authority of ZooKeeper's servers; default: whom this system trusts.",
            type=file,
        ),
        option("--zookeeper-certificate", "PEM file of the certificate shown to ZooKeeper.", type=file),
        option("--zookeeper-key", "PEM file of its key; default: in the same file.", type=file),
        option(
            "--zookeeper-any-host-name",
            "Trust a server whatever name is in its certificate.",
            is_flag=True,
            default=None,
        ),
        option("--zookeeper-sasl-user", "User of ZooKeeper's login (SASL, DIGEST-MD5).", metavar="NAME"),
        option(
            "--zookeeper-sasl-password", "His password; asked for if it is not given.", metavar="PASSWORD"
        ),
    ]


def channel_of(
    given: Mapping[str, Any], kept_password: Callable[[str], str] = lambda user: ""
) -> ChannelSettings | None:
    """Return what the options say, None if they say nothing.

    Args:
        given: values by the options' names; others stand beside them.
        kept_password: of a user who is given without one, if the home has it; else he is asked for it.

    Raises:
        click.UsageError: one is missing that another needs.
    """
    ca, certificate, key = (str(Path(given[name]).absolute()) if given.get(name) else "" for name in _FILES)
    said = ChannelSettings(
        bool(given.get("zookeeper_tls")),
        ca,
        certificate,
        key,
        bool(given.get("zookeeper_any_host_name")),
        given.get("zookeeper_sasl_user") or "",
        given.get("zookeeper_sasl_password") or "",
    )
    try:
        return make_channel(said, OPTIONS, lambda user: kept_password(user) or _ask_password(user))
    except ChannelIncomplete as error:
        raise click.UsageError(str(error)) from error


def _ask_password(user: str) -> str:
    return ask_secret(
        f"ZooKeeper password of {user}",
        f"The password of {user} is missing: give it with --zookeeper-sasl-password "
        "or in the environment as ZOOKEEPER_SASL_PASSWORD.",
    )
