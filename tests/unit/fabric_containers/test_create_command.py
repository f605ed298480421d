"""What `create` asks for and understands before it does anything."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import fabric.cli.create
from fabric.addresses import address_fields, child_fields
from fabric.cli.main import fabric as fabric_command
from fabric.create import CreateOptions, FabricExists, check_absent
from fabric.errors import FabricError
from fabric.home import Home, RegistryAddress
from fabric.local import free_port


def test_user_and_password_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is asked for twice, unseen, until both are the same."""
    with CliRunner().isolation(input="ann\nsecret\nwrong\nsecret\nsecret\n") as (output, *_):
        monkeypatch.setattr(fabric.cli.create.sys.stdin, "isatty", lambda: True)
        assert fabric.cli.create._credentials(None, None) == ("ann", "secret")
        shown = output.getvalue().decode()
    assert shown.splitlines() == [
        "New user name: ann",
        "Password for ann: ",
        "Verify password for ann: ",
        "Passwords did not match. Please try again!",
        "Password for ann: ",
        "Verify password for ann: ",
    ]


def test_without_a_terminal_nobody_is_asked() -> None:
    """A script that gives no user gets an error that names the options, not a hanging prompt."""
    result = CliRunner().invoke(fabric_command, ["create", "--home", "/nonexistent/home"])
    assert result.exit_code == 1
    assert "--new-user NAME --new-user-password PASSWORD" in result.output


@pytest.mark.parametrize("option", sorted(fabric.cli.create.WITHOUT_MEANING))
def test_options_without_meaning_are_refused_with_a_reason(option: str) -> None:
    """Each option of the original that cannot do anything here is refused with a sentence."""
    value = [] if option in ("--no-import", "--non-managed") else ["1"]
    result = CliRunner().invoke(fabric_command, ["create", option, *value])
    assert result.exit_code == 2
    assert fabric.cli.create.WITHOUT_MEANING[option] in " ".join(result.output.split())


def test_a_bind_address_may_carry_the_port_of_zookeeper() -> None:
    """ADDRESS:PORT is understood as in the original; an IPv6 address is not mistaken for it."""
    parse = fabric.cli.create._bind_address
    assert parse("0.0.0.0:2199", None) == ("0.0.0.0", 2199)
    assert parse("::1", 2181) == ("::1", 2181)
    with pytest.raises(click.UsageError):
        parse("localhost:x", None)


def test_the_password_of_the_registry() -> None:
    """It is what was given, made up on request, and else the first user's, as clients expect."""
    assert CreateOptions("a", "pw").ensemble_password == "pw"
    assert CreateOptions("a", "pw", zookeeper_password="zk").ensemble_password == "zk"
    made_up = {CreateOptions("a", "pw", generate_zookeeper_password=True).ensemble_password for _ in range(3)}
    assert len(made_up) == 3
    assert min(map(len, made_up)) >= 16


@pytest.mark.parametrize(
    ("clean", "force", "refused"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_a_fabric_that_is_down_is_replaced_on_request_only(
    tmp_path: Path, clean: bool, force: bool, refused: bool
) -> None:
    """Without --clean or --force an existing fabric is left alone, and the error says how to start it."""
    home = Home(tmp_path)
    check_absent(home, force=False, clean=False)
    home.make()
    home.write_registry_address(RegistryAddress("h:1", "x"))
    if not refused:
        check_absent(home, force=force, clean=clean)
        return
    with pytest.raises(FabricExists, match="container-start root"):
        check_absent(home, force=force, clean=clean)


@pytest.mark.parametrize(
    ("bind_address", "resolver", "manual_ip", "chosen"),
    [
        ("127.0.0.1", None, None, "localip"),
        ("0.0.0.0", None, None, "localhostname"),
        ("0.0.0.0", "localip", None, "localip"),
        ("127.0.0.1", None, "192.0.2.9", "manualip"),
        ("127.0.0.1", "localhostname", "192.0.2.9", "localhostname"),
    ],
)
def test_the_resolver_decides_which_address_is_told(
    bind_address: str, resolver: str | None, manual_ip: str | None, chosen: str
) -> None:
    """A loopback fabric tells its loopback address; one that listens everywhere tells the host's name."""
    fields = address_fields(bind_address, resolver, manual_ip)
    assert fields["resolver"] == chosen
    assert fields[chosen]


def test_a_resolver_needs_its_address() -> None:
    """Manualip without an address, and unknown resolvers, are refused."""
    for resolver in ("manualip", "nonsense"):
        with pytest.raises(FabricError):
            address_fields("127.0.0.1", resolver, None)


def test_a_child_is_reached_as_its_parent() -> None:
    """What is not said about a child's address is its parent's."""
    parent = {**address_fields("192.0.2.1", None, None), "desired": "started", "parent": ""}
    assert child_fields(parent, None, None, None) == address_fields("192.0.2.1", None, None)
    assert child_fields(parent, "127.0.0.1", None, None)["localip"] == "127.0.0.1"
    assert child_fields(parent, None, None, "192.0.2.7")["resolver"] == "manualip"


def test_free_ports_are_looked_for_in_the_range() -> None:
    """The wanted port is the first candidate if the range holds it; else the range decides."""
    port = free_port("127.0.0.1", 2181, 30_000, 30_200)
    assert port is not None
    assert 30_000 <= port <= 30_200
    assert free_port("192.0.2.1", 2181, 2181, 2185) is None
