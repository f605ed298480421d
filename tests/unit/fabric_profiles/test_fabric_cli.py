"""The commands, as they are typed, against a registry in memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner, Result
from support.memory_session import MemorySession
from support.zookeeper import free_port

from fabric.cli.context import CommandContext
from fabric.cli.main import COMMANDS, fabric
from fabric.home import Home, ManagedZooKeeper, RegistryAddress
from fabric.records import Provision
from fabric.store import ContainerStore, ProfileStore
from registry import paths
from registry.errors import AuthenticationFailed, RegistryUnavailable

Run = Callable[..., Result]


# All commands


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str) -> None:
    """The help names the command, and shows at least one complete line to type."""
    result = CliRunner().invoke(fabric, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: fabric {name}" in result.output
    assert "Examples:" in result.output
    assert f"  fabric {name}" in result.output.split("Examples:")[1]


def test_every_command_has_a_heading_in_the_reference() -> None:
    """And the reference describes no command there is not."""
    reference = Path(__file__).parents[3] / "docs" / "reference" / "commands.md"
    headings = [
        line.removeprefix("### ") for line in reference.read_text().splitlines() if line.startswith("### ")
    ]
    assert sorted(headings) == sorted(COMMANDS)


def test_every_command_is_listed_without_being_imported() -> None:
    """`fabric --help` names all of them."""
    result = CliRunner().invoke(fabric, ["--help"])
    for name, entry in COMMANDS.items():
        assert name in result.output
        assert entry.short_help.endswith(".")


def test_starting_imports_neither_kazoo_nor_twisted() -> None:
    """They take longer than everything else a command does."""
    code = (
        "import sys\n"
        "from fabric.cli.main import fabric\n"
        "fabric.main(['cluster-list', '--help'], standalone_mode=False)\n"
        "print(sorted({'kazoo', 'twisted'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(("typed", "meant"), [("fabric:cluster-list", "cluster-list"), ("zk:get", "zk-get")])
def test_the_originals_names_are_understood(typed: str, meant: str) -> None:
    """Scripts and habits keep working."""
    assert f"Usage: fabric {typed}" in CliRunner().invoke(fabric, [typed, "--help"]).output
    assert meant in COMMANDS


def test_usage_errors_end_with_2(run: Run) -> None:
    """Unknown commands and options, and missing arguments."""
    for arguments in (["no-such-command"], ["status", "--no-such-option"], ["zk-get"]):
        assert "Usage: fabric" in run(*arguments, code=2).output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("conatiner-list", "Did you mean container-list"),
        ("mqcreate", "Did you mean mq-create"),
        ("no-such-command", "No such command"),
    ],
)
def test_a_misspelt_command_is_recognised(run: Run, typed: str, offered: str) -> None:
    """The error offers what may have been meant, and nothing when nothing is near."""
    output = run(typed, code=2).output
    assert offered in output
    assert ("Did you mean" in output) == ("Did you mean" in offered)


def test_a_registry_that_is_stopped_is_not_waited_for(tmp_path: Path) -> None:
    """The home says that its own container would have to run ZooKeeper: the error comes at once."""
    home = Home(tmp_path)
    home.make()
    port = free_port()
    home.write_registry_address(RegistryAddress(f"127.0.0.1:{port}", "secret"))
    home.write_root_name("first")
    home.container("first").make()
    home.container("first").write_managed_zookeeper(ManagedZooKeeper(port, "127.0.0.1", str(tmp_path), 500))
    result = CliRunner().invoke(fabric, ["--home", str(tmp_path), "cluster-list"])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: ZooKeeper at 127.0.0.1:{port} is not running, nor is container first, which runs it:\n"
        "`fabric container-start first` starts it.\n"
    )


def test_without_a_fabric_it_says_what_to_do(tmp_path: Path) -> None:
    """The error names the folder that was looked at."""
    result = CliRunner().invoke(fabric, ["--home", str(tmp_path), "cluster-list"])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: No fabric found at {tmp_path}: create one with `fabric create` "
        "or name one with --zookeeper-url\n"
    )


def test_options_may_stand_before_or_behind_the_command(tmp_path: Path) -> None:
    """Behind goes before."""
    result = CliRunner().invoke(fabric, ["--home", "/nowhere", "cluster-list", "--home", str(tmp_path)])
    assert str(tmp_path) in result.output


def test_a_password_is_needed_for_a_named_registry() -> None:
    """Without a terminal to ask on, the error says how to give it."""
    result = CliRunner().invoke(
        fabric, ["cluster-list", "--zookeeper-url", "127.0.0.1:1"], env={"FABRIC_HOME": "/nowhere"}
    )
    assert result.exit_code == 2
    assert "--zookeeper-password" in result.output


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (AuthenticationFailed("The password is wrong."), "--zookeeper-password"),
        (RegistryUnavailable("ZooKeeper at x cannot be reached."), "fabric container-start root"),
    ],
)
def test_errors_of_the_registry_say_what_to_do(
    run: Run, session: MemorySession, monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    """No stack trace: the error and the next step."""

    def fail(path: str) -> None:
        raise error

    monkeypatch.setattr(session, "get_or_none", fail)
    output = run("status", code=1).output
    assert f"Error: {error}" in output
    assert advice in output


def test_ctrl_c_ends_with_130(run: Run, session: MemorySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect of a command that was interrupted."""

    def interrupt(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "get_or_none", interrupt)
    run("status", code=130)


# cluster-list


@pytest.fixture
def lab(session: MemorySession) -> None:
    """The lab's brokers."""
    group = paths.amq_group("default")
    for number, (broker, container, services) in enumerate(
        [
            ("root", "root", ["tcp://${zk:root/ip}:61617"]),
            ("tolerantbroker", "brokercontainer", ["tcp://127.0.0.1:41662"]),
            ("tolerantbroker", "brokercontainer2", []),
        ]
    ):
        record = {"id": broker, "container": container, "uuid": "u", "ready": True, "services": services}
        session.put_json(f"{group}/0{number:010}", record)


@pytest.mark.usefixtures("lab")
def test_cluster_list_prints_the_labs_table(run: Run) -> None:
    """Placeholders in services are resolved."""
    assert run("cluster-list", "amq/default").output.splitlines() == [
        "[cluster]          [masters]        [slaves]          [services]",
        ".",
        "   root            root             -                 tcp://127.0.0.1:61617",
        "   tolerantbroker  brokercontainer  brokercontainer2  tcp://127.0.0.1:41662",
    ]
    assert run("cluster-list").output.splitlines()[1] == "amq/default"
    assert "00000000002" in run("cluster-list", "-v", "amq").output


@pytest.mark.usefixtures("lab")
def test_cluster_list_for_scripts(run: Run) -> None:
    """JSON and YAML hold the same."""
    records = json.loads(run("cluster-list", "amq/default", "--output", "json").output)
    assert [(one["id"], one["masters"], one["slaves"]) for one in records] == [
        ("root", ["root"], []),
        ("tolerantbroker", ["brokercontainer"], ["brokercontainer2"]),
    ]
    assert yaml.safe_load(run("cluster-list", "amq/default", "--output", "yaml").output) == records


def test_cluster_list_of_nothing(run: Run) -> None:
    """An unknown group is said to be; for scripts it is an empty list."""
    assert run("cluster-list", "amq/none").output == (
        f"No cluster information for path {paths.amq_group('none')}\n"
    )
    assert run("cluster-list", "amq/none", "--output", "json").output == "[]\n"


@pytest.mark.usefixtures("lab")
def test_cluster_list_watches(run: Run, session: MemorySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints again when something changes, until Ctrl-C, and leaves no watch behind."""
    drawn: list[str] = []

    def act(text: str) -> None:
        drawn.append(text)
        if len(drawn) == 1:
            session.delete(f"{paths.amq_group('default')}/00000000001")
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("fabric.cli.output.click", SimpleNamespace(echo=act))
    run("cluster-list", "amq/default", "--watch", code=130)
    assert "brokercontainer  brokercontainer2" in drawn[0]
    assert "brokercontainer  " not in drawn[1]
    assert session._watches == []


# mq-create, status, require


def test_the_labs_broker_is_created(run: Run) -> None:
    """Only a profile: status shows that nobody runs it."""
    created = run("mq-create", "--group", "default", "--kind", "MasterSlave", "tolerantbroker")
    assert created.output == "MQ profile mq-broker-default.tolerantbroker ready\n"
    status = run("status").output.splitlines()
    assert status[0].split() == ["[profile]", "[instances]", "[health]"]
    assert f"{'mq-broker-default.tolerantbroker':<40} {'0 of 2':<14} 0%" in status


def test_status_counts_connected_containers(run: Run, session: MemorySession) -> None:
    """What is not connected does not serve anybody."""
    run("require-profile-set", "mq-amq", "--minimum", "2")
    records = json.loads(run("status", "--output", "json").output)
    assert [(one["profile"], one["instances"], one["health"]) for one in records] == [
        ("fabric", 0, 0),
        ("fabric-ensemble-0000-1", 0, 0),
        ("mq-amq", 0, 0),
    ]
    session.put(paths.container_alive("root"), b"{}")
    records = json.loads(run("status", "--output", "json").output)
    assert [one["health"] for one in records] == [100, 100, 50]
    assert records[2] == {"profile": "mq-amq", "instances": 1, "minimum": 2, "maximum": None, "health": 50}


def test_containers_are_created_with_a_broker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many for each name as the broker requires, as `container-create-child` makes them."""
    created: dict[str, object] = {}

    def create_children(context: CommandContext, parent: str, names: list[str], **given: object) -> None:
        created.update(given, parent=parent, names=names)

    monkeypatch.setattr("fabric.cli.container.create_children", create_children)
    run("mq-create", "--create-container", "node,other", "shop")
    assert created == {
        "parent": "root",
        "names": ["node", "node2", "other", "other2"],
        "profiles": ["mq-broker-default.shop"],
        "version": "1.0",
    }


def test_containers_need_a_root_container(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host without one the error says how to name another parent."""
    monkeypatch.setattr(CommandContext, "current_container", None)
    assert "container-create-child" in run("mq-create", "--create-container", "node", "shop", code=1).output


def test_containers_are_assigned_to_a_broker(run: Run, containers: ContainerStore) -> None:
    """They keep the profiles they have."""
    run("mq-create", "--assign-container", "root", "shop")
    assert containers.profiles("root")[-1] == "mq-broker-default.shop"


def test_nothing_is_created_when_something_is_wrong(run: Run, profiles: ProfileStore) -> None:
    """Names of containers, kinds, ports, TLS and XML are checked first."""
    for arguments, code, said in (
        (["--assign-container", "nobody"], 1, "Container nobody does not exists!"),
        (["--create-container", "root"], 1, "A container with name root already exists."),
        (["--create-container", "a,a2"], 1, "A container with name a2 already exists."),
        (["--create-container", "a b"], 1, "Container name 'a b' is invalid"),
        (["--kind", "Replicated"], 1, "Choose one of StandAlone, MasterSlave"),
        (["--kind", "Mirrored"], 2, "'Mirrored' is not one of"),
        (["--connectors", "gopher"], 1, "There is no connector 'gopher'."),
        (["--connectors", "inside", "-D", "inside-protocol=gopher"], 1, "There is no connector 'gopher'."),
        (["--config", "other.xml"], 1, "--property"),
        (["--port", "inside=1883"], 1, "The broker has no connector 'inside'."),
        (["--port", "openwire=x"], 1, "'x' is not a port"),
        (["--port", "61620"], 2, "KEY=VALUE"),
        (["--version", "9"], 1, "Version 9 does not exist"),
        (["--minimumInstances", "0"], 1, "between 1 and"),
    ):
        assert said in run("mq-create", *arguments, "shop", code=code).output
    assert not profiles.exists("mq-broker-default.shop", "1.0")


def test_a_network_is_kept_with_a_note(run: Run, profiles: ProfileStore) -> None:
    """Nobody shall wait for a connection that this version does not make."""
    result = run(
        "mq-create", "--group", "a-mq-east", "--kind", "standalone", "--networks", "a-mq-west",
        "--networks-username", "admin", "--networks-password", "admin", "--no-ssl", "--config", "broker.xml",
        "--jmx-user", "x", "--jmx-password", "x", "--jvm-opts", "-Xmx1g", "a-mq-east-broker",
    )  # fmt: skip
    assert "do not connect to networks" in result.stderr
    profile = profiles.get("mq-broker-a-mq-east.a-mq-east-broker", "1.0")
    [values] = profile.configuration.values()
    assert (values["network"], values["network.userName"], values["kind"]) == (
        "a-mq-west",
        "admin",
        "StandAlone",
    )


def test_requirements(run: Run) -> None:
    """They are set, kept where not named, listed and deleted."""
    run("require-profile-set", "mq-amq", "--minimum", "1", "--dependsOn", "fabric", "--dependsOn", "default")
    run("require-profile-set", "mq-amq", "--maximum", "3")
    assert run("require-profile-list").output.splitlines() == [
        "[profile]  [# minimum]  [# maximum]  [depends on]",
        "mq-amq     1            3            fabric, default",
    ]
    assert "above its maximum" in run("require-profile-set", "mq-amq", "--minimum", "4", code=1).output
    assert "does not exist" in run("require-profile-set", "nowhere", "--minimum", "1", code=1).output
    run("require-profile-set", "mq-amq", code=2)
    run("require-profile-delete", "mq-amq")
    assert json.loads(run("require-profile-list", "--output", "json").output) == []
    assert "require-profile-list" in run("require-profile-delete", "mq-amq", code=1).output


# info, wait-for-provisioning


def test_info(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values start in one column."""
    monkeypatch.setattr(CommandContext, "zookeeper_url", "127.0.0.1:2181")
    lines = run("info").output.splitlines()
    assert lines[0].startswith("Fabric Release:")
    assert f"{'ZooKeeper URI:':<30} 127.0.0.1:2181" in lines
    assert json.loads(run("info", "--output", "json").output)["Default Version"] == "1.0"


def test_waiting_for_provisioning(run: Run, session: MemorySession, containers: ContainerStore) -> None:
    """SUCCESS, or ERROR and the reason."""
    result = run("wait-for-provisioning", "-v", "--provision-timeout", "0", code=1)
    assert "Waiting: Container root is not provisioned" in result.stderr
    assert result.stdout == "ERROR\n"
    containers.set_provision("root", Provision("error", "no Java"))
    assert "Error provisioning container root : no Java" in run("wait-for-provisioning", code=1).stderr
    session.put(paths.container_alive("root"), b"{}")
    containers.set_provision("root", Provision("success"))
    assert run("wait-for-provisioning").stdout == "SUCCESS\n"
    run("wait-for-provisioning", "--provision-timeout", "-1", code=2)


# profile-…


def test_profile_list(run: Run) -> None:
    """Hidden ones only when asked; no number for those no container has."""
    lines = run("profile-list").output.splitlines()
    assert lines[0].split("  ")[0] == "[id]"
    assert [line.split() for line in lines if line.startswith("mq-amq")] == [["mq-amq", "1", "mq-base"]]
    assert [line.split() for line in lines if line.startswith("mq-client ")] == [
        ["mq-client", "mq-client-base"]
    ]
    assert not any("ensemble" in line for line in lines)
    assert "fabric-ensemble-0000-1" in run("profile-list", "--hidden").output
    records = json.loads(run("profile-list", "--output", "json").output)
    assert {"id": "mq-amq", "containers": 1, "parents": ["mq-base"]} in records
    assert "Version 9 does not exist" in run("profile-list", "--version", "9", code=1).output


def test_profile_display(run: Run) -> None:
    """The sections of the original; with --overlay what is inherited too."""
    run("profile-create", "--parent", "mq-base", "shop")
    run("profile-edit", "-s", "zone=east", "--pid", "io.fabric8.agent/x=1", "--pid", "a.b/c=d", "shop")
    run("profile-edit", "--resource", "notes.txt", "shop", stdin="a note\n")
    lines = run("profile-display", "shop").output.splitlines()
    assert lines[:5] == [
        "Profile id: shop",
        "Version   : 1.0",
        "Attributes: ",
        "\tparents: mq-base",
        "Containers: ",
    ]
    assert "\t  zone = east" in lines
    assert "\t  x = 1" in lines
    assert lines[lines.index("PID: a.b") + 1] == "  c d"
    assert lines[-1] == "Resource: notes.txt"
    assert "PID: io.fabric8.mq.fabric.template" not in lines
    assert "PID: io.fabric8.mq.fabric.template" in run("profile-display", "-o", "shop").output
    assert "a note" in run("profile-display", "-r", "shop").output
    assert "Containers: root" in run("profile-display", "mq-amq").output
    assert "does not exist" in run("profile-display", "nowhere", code=1).output


def test_profiles_are_created_copied_and_deleted(run: Run, profiles: ProfileStore) -> None:
    """Each refusal says what else to do."""
    run("profile-create", "--parents", "mq-base", "--parents", "default", "shop")
    assert profiles.get("shop", "1.0").parents == ("mq-base", "default")
    assert "already exists" in run("profile-create", "shop", code=1).output
    assert "Profile name 'a b' is invalid" in run("profile-create", "a b", code=1).output
    assert (
        "Profile nowhere, which profile x inherits from"
        in run("profile-create", "--parent", "nowhere", "x", code=1).output
    )
    run("profile-copy", "mq-amq", "shop2")
    assert "already exists" in run("profile-copy", "mq-amq", "shop", code=1).output
    run("profile-copy", "--force", "mq-amq", "shop")
    assert profiles.get("shop", "1.0").configuration == profiles.get("mq-amq", "1.0").configuration
    run("profile-change-parents", "shop", "default", "mq-client")
    assert profiles.get("shop", "1.0").parents == ("default", "mq-client")
    assert "would inherit from itself" in run("profile-change-parents", "default", "shop", code=1).output
    run("profile-change-parents", "shop", code=2)
    run("profile-delete", "shop")
    assert "Profile shop not found." in run("profile-delete", "shop", code=1).output
    assert "--force" in run("profile-delete", "mq-amq", code=1).output
    run("profile-delete", "--force", "mq-amq")


def test_values_are_edited(run: Run, profiles: ProfileStore) -> None:
    """Set, append, remove and delete, with the original's words."""
    run("profile-create", "shop")
    assert run("profile-edit", "--pid", "a/k=1", "-p", "a/l=x", "shop", "1.0").output == (
        "Setting value:1 key:k on pid:a and profile:shop version:1.0\n"
        "Setting value:x key:l on pid:a and profile:shop version:1.0\n"
    )
    run("profile-edit", "--append", "--pid", "a/l=y", "shop")
    assert profiles.get("shop", "1.0").configuration == {"a": {"k": "1", "l": "x,y"}}
    run("profile-edit", "--remove", "--pid", "a/l=x", "shop")
    run("profile-edit", "--delete", "--pid", "a/k", "shop")
    assert profiles.get("shop", "1.0").configuration == {"a": {"l": "y"}}
    run("profile-edit", "--delete", "--pid", "a", "shop")
    assert profiles.get("shop", "1.0").configuration == {}
    run("profile-edit", "--pid", "io.fabric8.agent/attribute.hidden=true", "shop")
    assert profiles.get("shop", "1.0").hidden


def test_inherited_values_are_imported(run: Run, profiles: ProfileStore) -> None:
    """So that one of them can be changed with the others in sight."""
    run("profile-create", "--parent", "mq-amq", "shop")
    pid = "io.fabric8.mq.fabric.server-broker"
    assert (
        run("profile-edit", "-i", "--pid", pid, "shop").output
        == f"Importing pid:{pid} to profile:shop version:1.0\n"
    )
    assert profiles.get("shop", "1.0").configuration[pid]["bindPort"] == "${port:61616,61626}"


def test_edits_that_cannot_be(run: Run) -> None:
    """Formats, unknown profiles, Karaf's options, and an editor without a terminal."""
    for arguments, code, said in (
        (["--pid", "a", "mq-amq"], 1, "Enter pid value in proper format"),
        (["--pid", "a/k=1", "nowhere"], 1, "does not exist"),
        (["--pid", "a/k=1", "mq-amq", "9"], 1, "Version 9"),
        (["--feature", "camel", "mq-amq"], 2, "-f/--feature/--features was for Karaf containers"),
        (["-b", "mvn:x", "mq-amq"], 2, "for Karaf containers"),
        (["mq-amq"], 2, "no terminal"),
        (["--resource", "a/b", "mq-amq"], 1, "cannot name a resource"),
        (["--resource", "a", "--pid", "a/k=1", "mq-amq"], 2, "used alone"),
        (["--delimiter", "", "--pid", "a/k=1", "mq-amq"], 2, "--delimiter"),
    ):
        assert said in run("profile-edit", *arguments, code=code, stdin="").output


def test_a_document_is_edited_until_it_is_right(
    run: Run, profiles: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake costs nobody what was typed, and comments stay."""
    good = "# mine\nparents: [default]\n"
    opened: list[str] = []

    def editor(text: str, extension: str) -> str:
        opened.append(text)
        return "parents: [" if len(opened) == 1 else good

    monkeypatch.setattr("fabric.cli.profile_edit._in_editor", editor)
    assert "not YAML" in run("profile-edit", "mq-amq", stdin="y\n").stderr
    assert opened[1] == "parents: ["
    assert profiles.document("mq-amq", "1.0")[0] == good.encode()
    assert run("profile-edit", "mq-amq").output == "Nothing was changed.\n"
    opened.clear()
    run("profile-edit", "mq-amq", stdin="n\n", code=130)


# zk-…


def test_znodes(run: Run) -> None:
    """Created, read, listed, written and deleted."""
    assert run("zk-create", "-r", "/fabric/notes/a", "text").output == "/fabric/notes/a\n"
    assert run("zk-get", "fabric/notes/a/").output == "text\n"
    run("zk-set", "/fabric/notes/a", "other")
    assert run("zk-list", "/fabric/notes").output == "a\n"
    assert run("zk-list", "-r", "-d", "/fabric/notes").output == "/fabric/notes/a = other\n"
    assert json.loads(run("zk-list", "-d", "/fabric/notes", "--output", "json").output) == [
        {"path": "a", "data": "other"}
    ]
    assert run("zk-create", "-s", "/fabric/notes/n").output == "/fabric/notes/n0000000001\n"
    run("zk-create", "-o", "/fabric/notes/a", "third")
    assert run("zk-get", "/fabric/notes/a").output == "third\n"
    assert "exists" in run("zk-create", "/fabric/notes/a", code=1).output
    run("zk-delete", "-v", "9", "/fabric/notes/a", code=1)
    run("zk-delete", "-v", "2", "/fabric/notes/a")
    assert "children" in run("zk-delete", "/fabric/notes", code=1).output
    run("zk-delete", "-r", "/fabric/notes")
    assert "Error" in run("zk-get", "/fabric/notes", code=1).output
    assert "fabric" in run("zk-list").output


def test_data_comes_from_files(run: Run, tmp_path: Path) -> None:
    """With --import DATA names a file, or - what is piped in."""
    (tmp_path / "data").write_text("from file")
    run("zk-create", "-i", "/fabric/x", f"file:{tmp_path}/data")
    assert run("zk-get", "/fabric/x").output == "from file\n"
    run("zk-set", "--import", "/fabric/x", "-", stdin="piped")
    assert run("zk-get", "/fabric/x").output == "piped\n"
    assert "cannot be read" in run("zk-set", "-i", "/fabric/x", str(tmp_path / "none"), code=2).output


def test_znodes_that_cannot_be(run: Run) -> None:
    """Paths, access lists, and what belongs to ZooKeeper."""
    for arguments in (
        ["zk-get", "/a//b"],
        ["zk-get", "/a/../b"],
        ["zk-get", "/a\nb"],
        ["zk-create", "-a", "world:anyone:r", "/fabric/x"],
        ["zk-delete", "-r", "/"],
        ["zk-delete", "-r", "/zookeeper/quota"],
        ["zk-delete", "-r", "-v", "1", "/fabric"],
    ):
        run(*arguments, code=2)
    run("zk-create", "-a", "auth::cdrwa", "/fabric/x")


def test_an_ephemeral_znode_lasts_as_long_as_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for Ctrl-C, and says so."""

    def interrupt(self: object, timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("fabric.cli.zk.threading.Event.wait", interrupt)
    result = run("zk-create", "-e", "/fabric/x", code=130)
    assert result.stdout == "/fabric/x\n"
    assert "Ctrl-C" in result.stderr
