"""Creating containers, and changing what they have, over the API."""

from pathlib import Path

import pytest
from support.console import ConsoleWorld, Response

from fabric.home import Home
from fabric.profiles import Profile
from registry import paths


@pytest.fixture
def world() -> ConsoleWorld:
    """A root container that serves the console and runs ZooKeeper, and a child."""
    world = ConsoleWorld()
    world.profiles.create(Profile("fabric-ensemble-0000-1"), "1.0")
    fields = {"resolver": "localip", "localip": "10.0.0.1", "minimumport": "20000"}
    world.container("root", "fabric", "fabric-ensemble-0000-1", "mq-amq")
    for field, value in fields.items():
        world.containers.set_field("root", field, value)
    world.registry.put(paths.ensemble(), b"0000")
    world.registry.put(paths.ensemble_members("0000"), b"root")
    world.container("node", parent="root")
    return world


def code_of(answer: Response) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status, answer.json["error"]["code"]


def test_several_containers_are_created(world: ConsoleWorld) -> None:
    """They are numbered from 2, and are reached as their parent is."""
    body = {"name": "shop", "parent": "root", "number": 2, "profiles": ["mq-client"]}
    done = world.client("admin").post("/api/v1/containers", body)
    assert done.json["containers"] == ["shop", "shop2"]
    record = world.containers.get("shop2")
    assert (record.parent, record.profiles, record.version) == ("root", ("mq-client",), "1.0")
    assert record.fields["ip"] == "${zk:shop2/localip}"
    assert record.fields["minimumport"] == "20000"


def test_a_form_creates_a_container(world: ConsoleWorld) -> None:
    """Fields of a form are understood; without a profile it gets the default one."""
    form = {"name": "shop", "parent": "root", "number": "1", "version": "1.0"}
    assert world.browser("admin").post("/api/v1/containers", form, form=True).status == 200
    assert world.containers.get("shop").profiles == ("default",)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "node"}, (409, "refused")),
        ({"name": "no/de"}, (400, "invalid_name")),
        ({"name": ""}, (400, "request_invalid")),
        ({"number": 100}, (400, "request_invalid")),
        ({"parent": "node"}, (400, "container_not_root")),
        ({"parent": "nobody"}, (404, "container_not_found")),
        ({"version": "9"}, (404, "version_not_found")),
        ({"profiles": ["nothing"]}, (404, "profile_not_found")),
        ({"profiles": ["mq-base"]}, (400, "profile_is_abstract")),
        ({"surprise": 1}, (400, "request_invalid")),
    ],
)
def test_what_cannot_be_created(
    world: ConsoleWorld, changed: dict[str, object], expected: tuple[int, str]
) -> None:
    """The answer says why, and nothing was created."""
    answer = world.client("admin").post("/api/v1/containers", {"name": "shop", "parent": "root", **changed})
    assert code_of(answer) == expected
    assert world.containers.names() == ["node", "root"]


def test_a_parent_that_is_down_starts_nothing(world: ConsoleWorld) -> None:
    """Its child would never come."""
    world.registry.delete(paths.container_alive("root"))
    answer = world.client("admin").post("/api/v1/containers", {"name": "shop", "parent": "root"})
    assert code_of(answer) == (409, "parent_down")


def test_names_are_checked_while_they_are_typed(world: ConsoleWorld) -> None:
    """What they would be called, or why not; what was typed is text and not HTML."""
    client = world.client("admin")
    client.headers["HX-Request"] = "true"
    assert "shop, shop2, shop3" in client.get("/containers/new/names?name=shop&number=3").text
    assert "node is already in use" in client.get("/containers/new/names?name=node&number=1").text
    evil = client.get("/containers/new/names?name=%3Cimg%20src%3Dx%3E&number=1").text
    assert "<img" not in evil and "&lt;img" in evil
    assert "between 1 and 99" in client.get("/containers/new/names?name=x&number=abc").text


def test_the_form_begins_with_what_the_link_says(world: ConsoleWorld) -> None:
    """Profile, number and parent are filled in."""
    text = world.client("admin").get("/containers/new?profile=mq-amq&number=2&parent=root").text
    assert 'value="mq-amq" checked' in text
    assert 'value="2"' in text


def test_profiles_are_added_and_removed(world: ConsoleWorld) -> None:
    """In their order; removing what is not there is no error."""
    client = world.client("admin")
    assert client.post("/api/v1/containers/node/profiles/add", {"profiles": ["mq-amq"]}).status == 200
    assert world.containers.profiles("node") == ("default", "mq-amq")
    removed = client.post("/api/v1/containers/node/profiles/remove", {"profiles": ["default", "gone"]})
    assert removed.json == {"message": "Successfully removed default, gone from node"}
    changed = client.request("PUT", "/api/v1/containers/node/profiles", {"profiles": ["mq-client"]})
    assert changed.status == 200
    assert world.containers.profiles("node") == ("mq-client",)
    added = client.post("/api/v1/containers/node/profiles/add", {"profiles": ["nothing"]})
    assert code_of(added) == (404, "profile_not_found")


def test_the_lab_takes_the_broker_from_the_root_container(world: ConsoleWorld) -> None:
    """That is allowed; what would end the registry or the console is not."""
    client = world.client("admin")
    remove = "/api/v1/containers/root/profiles/remove"
    assert client.post(remove, {"profiles": ["mq-amq"]}).status == 200
    ensemble = client.post(remove, {"profiles": ["fabric-ensemble-0000-1"]})
    assert ensemble.status == 409 and "runs ZooKeeper" in ensemble.json["error"]["message"]
    console = client.post(remove, {"profiles": ["fabric"]})
    assert console.status == 409 and "serves this console" in console.json["error"]["message"]
    assert world.containers.profiles("root") == ("fabric", "fabric-ensemble-0000-1")


def test_starting_and_stopping_wait_for_nothing(world: ConsoleWorld) -> None:
    """The desired state is written; a crashed container's start is asked for anew."""
    operator = world.client("operator")
    assert operator.post("/api/v1/containers/stop", {"names": ["node"]}).json == {"message": "node: stopping"}
    assert world.containers.get("node").provision.result == "stopping"
    world.registry.delete(paths.container_alive("node"))
    assert operator.post("/api/v1/containers/start", {"names": ["node"]}).status == 200
    assert world.containers.get("node").desired.value == "started"
    missing = operator.post("/api/v1/containers/start", {"names": ["nobody"]})
    assert code_of(missing) == (404, "container_not_found")


def test_containers_are_deleted(world: ConsoleWorld) -> None:
    """A child goes; a root container, and several of which one is unknown, do not."""
    world.container("stopped", parent="root", alive=False, result="stopped")
    admin = world.client("admin")
    assert (
        code_of(world.client("operator").post("/api/v1/containers/delete", {"names": ["stopped"]}))[0] == 403
    )
    assert code_of(admin.post("/api/v1/containers/delete", {"names": ["root"]})) == (409, "refused")
    assert admin.post("/api/v1/containers/delete", {"names": ["stopped", "nobody"]}).status == 404
    assert world.containers.exists("stopped")
    done = admin.post("/api/v1/containers/delete", {"names": ["stopped"]})
    assert done.json == {"message": "stopped: deleted"}
    assert not world.containers.exists("stopped")


def test_containers_move_to_another_version(world: ConsoleWorld) -> None:
    """With their profiles; the version must exist."""
    admin = world.client("admin")
    admin.post("/api/v1/versions", {})
    assert admin.post("/api/v1/containers/move", {"names": ["node"], "version": "1.1"}).status == 200
    assert (world.containers.version("node"), world.containers.profiles("node")) == ("1.1", ("default",))
    unknown = admin.post("/api/v1/containers/move", {"names": ["node"], "version": "7"})
    assert code_of(unknown) == (404, "version_not_found")


def test_settings_are_changed(world: ConsoleWorld) -> None:
    """A resolver needs its address; the address advertised follows it."""
    admin = world.client("admin")
    address = "/api/v1/containers/root/settings"
    lacking = admin.request("PUT", address, {"resolver": "manualip"})
    assert lacking.status == 400 and "needs an address" in lacking.json["error"]["message"]
    body = {"resolver": "manualip", "manual_ip": "192.0.2.7", "location": "rack <3>"}
    assert admin.request("PUT", address, body).status == 200
    fields = world.containers.fields("root")
    assert (fields["ip"], fields["manualip"]) == ("${zk:root/manualip}", "192.0.2.7")
    assert "rack &lt;3&gt;" in admin.get("/containers/root/settings").text
    evil = admin.request("PUT", address, {"location": "${zk:/fabric/configs/ensemble/password}"})
    assert evil.status == 400


def test_the_container_page_shows_everything(world: ConsoleWorld) -> None:
    """Status, profiles, addresses, and the exception with its cause."""
    world.containers.set_field("root", "http", "http://${zk:root/localip}:8181")
    world.broker("default", "orders", "root", "tcp://10.0.0.1:61616")
    world.registry.put(paths.container_provision("node", "exception"), b"Boom <b>\nBecause of <i>")
    world.containers.set_provision_result("node", "error")
    viewer = world.client("viewer")
    root = viewer.get("/containers/root").text
    assert "http://10.0.0.1:8181" in root and "tcp://10.0.0.1:61616" in root
    assert "Master of broker orders, group default" in root
    assert "add-profiles" not in root
    node = viewer.get("/containers/node", HX_Request="true").text
    assert "Because of &lt;i&gt;" in node and "<html" not in node
    assert "Stop</button>" not in node
    assert "Stop</button>" in world.client("operator").get("/containers/node").text
    assert viewer.get("/containers/nobody").status == 404
    detail = viewer.get("/api/v1/containers/root").json
    assert (detail["ensemble"], detail["children"], detail["type"]) == (True, ["node"], "fabric")


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    """Whole lines within the limit; HTML in it is text; elsewhere it says where the log is."""
    world = ConsoleWorld(tmp_path)
    world.container("root", "fabric")
    home = Home(tmp_path).container("root")
    home.make()
    home.log.write_text("first line\n<script>second</script>\n")
    viewer = world.client("viewer")
    whole = viewer.get("/api/v1/containers/root/log").json
    assert (whole["text"].splitlines()[0], whole["complete"], whole["size_bytes"]) == ("first line", True, 35)
    tail = viewer.get("/api/v1/containers/root/log?bytes=30").json
    assert (tail["text"], tail["complete"]) == ("<script>second</script>\n", False)
    assert viewer.get("/api/v1/containers/root/log?bytes=99999999").status == 400
    assert "&lt;script&gt;second" in viewer.get("/containers/root/log").text
    world.container("far")
    assert code_of(viewer.get("/api/v1/containers/far/log")) == (404, "log_elsewhere")
    assert "has no log on this host" in viewer.get("/containers/far/log").text
    assert viewer.get("/api/v1/containers/..%2Froot/log").status in (400, 404)


def test_children_stand_below_their_parents(world: ConsoleWorld) -> None:
    """The list is a tree; a filter finds by status too."""
    text = world.client("viewer").get("/containers").text
    assert text.index("container-root") < text.index("container-node")
    assert 'title="Ensemble member: it runs ZooKeeper"' in text
    world.containers.set_provision_result("node", "analyzing")
    found = world.client("viewer").get("/containers?filter=analyz", HX_Request="true").text
    assert "container-node" in found and "container-root" not in found
