"""The container commands as they are typed, against a registry in memory and a parent that obeys at once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.fake_zookeeper import FakeZooKeeper

import fabric.lifecycle
from fabric.bootstrap import ensemble_profiles, write_first_content
from fabric.cli.context import CommandContext
from fabric.cli.main import fabric as fabric_command
from fabric.errors import ContainerNotFound
from fabric.home import Home
from fabric.names import expand
from fabric.records import Provision
from fabric.store import ContainerStore
from registry import paths
from registry.session import Session

Run = Callable[..., Result]


class ObedientParent:
    """Does at once what a parent's agent does in some milliseconds."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.store = ContainerStore(session)
        self.refuses: set[str] = set()
        self.followed: set[str] = set()
        session.watch_children(paths.containers_config(), self._follow)

    def _follow(self, names: list[str]) -> None:
        for name in set(names) - self.followed:
            self.followed.add(name)
            field = paths.container_config_field(name, "desired")
            self.session.watch_data(field, lambda desired, name=name: self._obey(name, desired))

    def _obey(self, name: str, desired: bytes | None) -> None:
        alive = paths.container_alive(name)
        if name in self.refuses:
            self.store.set_provision(name, Provision("error", "The process ended with exit code 1."))
        elif desired == b"started":
            self.session.create(alive, json.dumps({"pid": 77, "host": "h", "started_at": 1}).encode())
            self.store.set_provision(name, Provision("success"))
        elif desired == b"stopped":
            self.session.delete(alive, missing_ok=True)
            self.store.set_provision_result(name, "stopped")


@pytest.fixture
def session() -> Session:
    """A registry with a fabric and its root container; callbacks come at once."""
    session = Session("fake:1", "x", post=lambda call: call(), client_factory=FakeZooKeeper().client)
    session.start()
    write_first_content(session, profiles=ensemble_profiles(2181))
    session.put(paths.ensemble(), b"0000")
    session.put(paths.ensemble_members("0000"), b"root")
    ContainerStore(session).create(
        "root",
        profiles=["fabric", "fabric-ensemble-0000-1", "mq-amq"],
        version="1.0",
        fields={
            "ip": "${zk:root/localip}",
            "localip": "127.0.0.1",
            "localhostname": "127.0.0.1",
            "bindaddress": "127.0.0.1",
            "resolver": "localip",
        },
    )
    return session


@pytest.fixture
def parent(session: Session) -> ObedientParent:
    """The root container's agent."""
    return ObedientParent(session)


@pytest.fixture
def run(session: Session, parent: ObedientParent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; it must end with the exit code given."""
    monkeypatch.setattr(CommandContext, "session", session)
    monkeypatch.setattr(CommandContext, "current_container", "root")
    monkeypatch.setattr(fabric.lifecycle, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(fabric.lifecycle, "STOP_TIMEOUT_S", 0.3)
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(fabric_command, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def test_globs_stand_for_containers() -> None:
    """Names and globs are expanded, each container once; what fits nothing is an error."""
    names = ["b1", "b2", "root"]
    assert expand(["b*", "b1", "root"], names) == ["b1", "b2", "root"]
    for pattern in ("x*", "nobody"):
        with pytest.raises(ContainerNotFound, match="does not exists!"):
            expand([pattern], names)


def test_children_are_created_under_counted_names(run: Run, session: Session) -> None:
    """Several containers get the original's names, their parent's address, and the profiles asked for."""
    output = run("container-create-child", "--profile", "mq-amq", "root", "broker", "3").output
    assert output.splitlines() == [
        "The following containers have been created successfully:",
        "\tContainer: broker.",
        "\tContainer: broker2.",
        "\tContainer: broker3.",
    ]
    record = ContainerStore(session).get("broker2")
    assert (record.parent, record.profiles) == ("root", ("mq-amq",))
    assert record.fields["ip"] == "${zk:broker2/localip}"
    assert record.fields["bindaddress"] == "127.0.0.1"


def test_child_has_what_its_options_say(run: Run, session: Session) -> None:
    """Address, resolver and ports of a child can differ from its parent's."""
    run(
        *("container-create-child", "root", "c", "--bind-address", "192.0.2.5", "--resolver", "manualip"),
        *("--manual-ip", "192.0.2.9", "--min-port", "20000", "--max-port", "20009"),
    )
    fields = ContainerStore(session).fields("c")
    assert (fields["bindaddress"], fields["resolver"]) == ("192.0.2.5", "manualip")
    assert (fields["ip"], fields["manualip"]) == ("${zk:c/manualip}", "192.0.2.9")
    assert (fields["minimumport"], fields["maximumport"]) == ("20000", "20009")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody", "c"), "Container nobody does not exists!"),
        (("root", "c", "0"), "The number of containers must be between 1 and 99."),
        (("root", "c", "100"), "The number of containers must be between 1 and 99."),
        (
            ("root", "c!"),
            "Container name 'c!' is invalid. Container name must be: letters, numbers, and _ or -",
        ),
        (("root", "root"), "A container with name root already exists."),
        (("root", "c", "--profile", "nowhere"), "Profile nowhere with version 1.0 does not exist."),
        (("root", "c", "--profile", "mq-base"), "is abstract and can not be associated to containers."),
        (("root", "c", "--version", "9"), "Version 9 does not exist."),
        (("root", "c", "--resolver", "manualip"), "needs an address"),
    ],
)
def test_bad_requests_for_children_are_refused(
    run: Run, session: Session, arguments: tuple[str, ...], message: str
) -> None:
    """What is wrong is said, with exit code 1, and nothing is created."""
    assert message in run("container-create-child", *arguments, code=1).output
    assert ContainerStore(session).names() == ["root"]


def test_children_have_no_children(run: Run) -> None:
    """Only root containers have children."""
    run("container-create-child", "root", "c")
    output = run("container-create-child", "c", "d", code=1).output
    assert "Parent container c must be a root container!" in output


def test_child_that_does_not_start_is_listed_as_failed(run: Run, parent: ObedientParent) -> None:
    """The others are created; the failed one is named with its reason, and the exit code is 1."""
    parent.refuses.add("c2")
    output = run("container-create-child", "root", "c", "2", code=1).output
    assert "\tContainer: c.\n" in output
    assert "The following containers have failed:\n\tc2: " in output
    assert "exit code 1" in output


def test_command_whose_parent_is_down_says_what_to_type(run: Run, session: Session) -> None:
    """Nobody could start the child: the error names the parent and the command."""
    run("container-create-child", "root", "c")
    run("container-stop", "c")
    session.delete(paths.container_alive("root"))
    for arguments in (("container-start", "c"), ("container-create-child", "root", "d")):
        output = run(*arguments, code=1).output
        assert "is run by container root, which is down" in output
        assert "fabric container-start root" in output
    assert ContainerStore(session).names() == ["c", "root"]


def test_start_and_stop_say_what_was_so_already(run: Run) -> None:
    """Started twice or stopped twice is not an error."""
    run("container-create-child", "root", "c", "2")
    assert run("container-start", "c").output == "Container c is already started\n"
    assert run("container-stop", "c*").output.splitlines() == [
        "Container 'c' stopped successfully.",
        "Container 'c2' stopped successfully.",
    ]
    assert run("container-stop", "c").output == "Container 'c' already stopped.\n"
    assert run("container-start", "c", "c2").output == ""


def test_container_that_does_not_stop_is_an_error(run: Run, parent: ObedientParent, session: Session) -> None:
    """After the time is up the command says so, and the status is what it was."""
    run("container-create-child", "root", "c")
    parent._obey = lambda name, desired: None
    output = run("container-stop", "c", code=1).output
    assert "Container 'c' was not stopped successfully, something went wrong. Check Logs." in output
    assert ContainerStore(session).provision("c").result == "success"


def test_ensemble_members_are_protected(run: Run) -> None:
    """Who runs ZooKeeper is stopped with --force only, and never deleted."""
    assert "Container is part of the ensemble." in run("container-stop", "root", code=1).output
    assert "cannot be deleted" in run("container-delete", "-f", "root", code=1).output


def test_parent_is_deleted_with_its_children_or_not_at_all(run: Run, session: Session) -> None:
    """A container with children needs --recursive; then the children go first."""
    store = ContainerStore(session)
    store.create(
        "second", profiles=["default"], version="1.0", fields={"localip": "h", "resolver": "localip"}
    )
    run("container-create-child", "second", "c")
    assert "has one or more child containers" in run("container-delete", "second", code=1).output
    assert "is the root container of host h" in run("container-delete", "-r", "second", code=1).output
    run("container-delete", "-r", "--force", "second")
    assert store.names() == ["root"]


def test_profiles_of_a_container_are_changed(run: Run, session: Session) -> None:
    """Add, remove and change write the profiles; unknown ones are refused, except for removal."""
    store = ContainerStore(session)
    run("container-create-child", "root", "c")
    run("container-add-profile", "c", "mq-amq", "mq-client")
    assert store.profiles("c") == ("default", "mq-amq", "mq-client")
    run("container-remove-profile", "c", "mq-amq", "never-there")
    run("container-change-profile", "c", "mq-client", "default")
    assert store.profiles("c") == ("mq-client", "default")
    assert "does not exist" in run("container-add-profile", "c", "nowhere", code=1).output
    assert "does not exists!" in run("container-add-profile", "nobody", "default", code=1).output
    run("container-stop", "c")
    assert "takes effect when it starts" in run("container-remove-profile", "c", "default").output


def test_list_is_a_tree_with_a_star(run: Run) -> None:
    """Children stand under their parent; the host's own root has a star; one profile a line."""
    run("container-create-child", "root", "c")
    lines = run("container-list").output.splitlines()
    assert lines[0].startswith("[id]   [version]  [type]  [connected]  [profiles]")
    assert lines[1].split() == ["root*", "1.0", "fabric", "yes", "fabric", "success"]
    assert lines[-1].split() == ["c", "1.0", "fabric", "yes", "default", "success"]
    assert lines[-1].startswith("  c ")
    assert [row["id"] for row in json.loads(run("container-list", "mq-amq", "--output", "json").output)] == [
        "root"
    ]
    assert "[process id]" in run("container-list", "-v").output


def test_info_shows_the_details_and_the_error(run: Run, session: Session) -> None:
    """Details are printed as the original does; an error is shown in full."""
    ContainerStore(session).set_provision("root", Provision("error", "first line\nsecond line"))
    output = run("container-info").output
    assert "Name:                          root\n" in output
    assert "Process ID:                    77\n" in output
    assert "Network Address:               127.0.0.1\n" in output
    assert "Provision Status:              error - first line\n" in output
    assert "Provision Error:               first line\nsecond line\n" in output
    ContainerStore(session).set_provision("root", Provision("success", "AMQP is not installed"))
    output = run("container-info").output
    assert "Provision Status:              success\n" in output
    assert "Provision Note:                AMQP is not installed\n" in output
    assert "does not exists!" in run("container-info", "nobody", code=1).output
    assert "Children:" in run("container-info", "root", "-v").output


def test_logs_are_shown_from_the_end(run: Run, tmp_path: Path) -> None:
    """The log is printed as a whole, or its last lines."""
    files = Home(tmp_path).container("root")
    files.make()
    files.log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert len(run("container-logs", "root").output.splitlines()) == 10_000
    assert run("container-logs", "root", "-n", "2").output == "line 9998\nline 9999\n"
    assert len(run("container-logs", "root", "-n", "9000").output.splitlines()) == 9000
    assert run("container-logs", "root", "-n", "0").output == ""
    assert len(run("container-logs", "root", "-n", "20000").output.splitlines()) == 10_000


def test_log_of_another_host_is_not_here(run: Run) -> None:
    """A container without a log here is either unknown or runs elsewhere; the message says which."""
    assert "does not exists!" in run("container-logs", "nobody", code=1).output
    output = run("container-logs", "root", code=1).output
    assert "has no log on this host" in output
    assert "host h" in output
