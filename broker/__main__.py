"""Runs one broker in the foreground, without a container: `python -m broker --help`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import cast

from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner

from broker.config import BrokerConfig
from broker.errors import ConfigurationInvalid
from broker.polling import install_reactor
from broker.process import prepare_process
from broker.reactor import MainReactor, in_thread
from broker.security import PasswordAuthenticator, RegistryAuthenticator
from broker.service import BrokerService
from registry.channel import OPTIONS, PLAIN, ChannelSettings, make_channel
from registry.errors import ChannelIncomplete, RegistryError
from registry.session import Session
from registry.users import UserRecord, UserStore, hash_password


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    observer = cast("ILogObserver", STDLibLogObserver("twisted"))
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    prepare_process()
    try:
        config, channel = _config(options), _channel(options)
    except (ConfigurationInvalid, ChannelIncomplete) as error:
        raise SystemExit(str(error)) from error
    install_reactor()
    from twisted.internet import reactor as twisted_reactor  # noqa: PLC0415 - not before it is installed

    reactor = cast("MainReactor", twisted_reactor)
    session = Session(
        options.zookeeper_url,
        options.zookeeper_password,
        session_timeout_s=options.session_timeout / 1000,
        post=reactor.callFromThread,
        channel=channel,
    )
    try:
        session.start()
    except RegistryError as error:
        raise SystemExit(str(error)) from error
    session.follow_password()
    _run(reactor, config, session, options)
    session.close()
    return 0


def _run(reactor: MainReactor, config: BrokerConfig, session: Session, options: argparse.Namespace) -> None:
    def run_in_thread(call: Callable[[], bool], done: Callable[[bool], None]) -> None:
        in_thread(reactor, call).addCallback(done)

    users: PasswordAuthenticator
    if options.user:
        users = PasswordAuthenticator(run_in_thread, _users(options.user))
    else:
        users = RegistryAuthenticator(UserStore(session), run_in_thread)
        users.start()
    service = BrokerService(
        reactor,
        config,
        session,
        container=options.container,
        advertised_host=options.advertised_host,
        bind_address=options.bind_address,
        users=users,
    )
    reactor.callWhenRunning(service.startService)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m broker",
        description="Runs one broker: the master, or a slave waiting to become it. SIGTERM ends it cleanly.",
    )
    add = parser.add_argument
    add("--zookeeper-url", required=True, metavar="HOST:PORT[,…]")
    add("--zookeeper-password", default=None)
    add("--zookeeper-tls", action="store_true", help="talk to ZooKeeper by TLS only")
    add("--zookeeper-ca", default="", metavar="FILE", help="of ZooKeeper's servers; default: the system's")
    add("--zookeeper-certificate", default="", metavar="FILE", help="shown to ZooKeeper, with its key")
    add("--zookeeper-key", default="", metavar="FILE", help="default: in the same file")
    add("--zookeeper-any-host-name", action="store_true", help="trust it whatever name is in its certificate")
    add("--zookeeper-sasl-user", default="", metavar="NAME", help="of ZooKeeper's login (DIGEST-MD5)")
    add("--zookeeper-sasl-password", default="", metavar="PASSWORD")
    add("--session-timeout", type=int, default=4000, metavar="MS", help="of ZooKeeper; default 4000")
    add("--group", default="default")
    add("--name", default="broker", help="brokers of one name in a group elect one master")
    add("--container", default="standalone", help="differs between master and slaves")
    add("--data", required=True, metavar="DIR", help="the journal, shared by master and slaves")
    add("--port", action="append", default=[], metavar="[openwire=]PORT", help="default: any free port")
    add(
        "--property",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="as in the PID of a container's broker, such as ignoreMissingJournalfiles=true",
    )
    add("--user", action="append", default=[], metavar="NAME:PASSWORD", help="default: the registry's users")
    add("--bind-address", default="127.0.0.1")
    add("--advertised-host", default="127.0.0.1")
    add("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _channel(options: argparse.Namespace) -> ChannelSettings:
    said = ChannelSettings(
        options.zookeeper_tls,
        options.zookeeper_ca,
        options.zookeeper_certificate,
        options.zookeeper_key,
        options.zookeeper_any_host_name,
        options.zookeeper_sasl_user,
        options.zookeeper_sasl_password,
    )
    return make_channel(said, OPTIONS) or PLAIN


def _config(options: argparse.Namespace) -> BrokerConfig:
    properties = dict(text.partition("=")[::2] for text in options.property)
    properties |= {"broker-name": options.name, "group": options.group, "data": options.data}
    for port in options.port:
        connector, _, number = port.rpartition("=")
        properties[f"{connector or 'openwire'}-port"] = number
    return BrokerConfig.from_properties(properties, container=options.container)


def _users(pairs: Sequence[str]) -> dict[str, UserRecord]:
    users = {}
    for pair in pairs:
        name, _, password = pair.partition(":")
        users[name] = UserRecord(name, hash_password(password), ("admin",))
    return users


if __name__ == "__main__":
    sys.exit(main())
