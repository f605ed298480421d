"""The list of containers, as page and by the API."""

from support.console import ConsoleWorld


def test_the_list_shows_who_runs_and_who_is_master() -> None:
    """A connected container is alive; the star stands at the container that is master."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("node", parent="root", alive=False)
    world.broker("default", "orders", "root", "tcp://127.0.0.1:61616")
    text = world.client("viewer").get("/containers").text
    assert 'id="container-root"' in text
    assert text.count('title="Alive - Success"') == 1
    assert text.count('title="Not running"') == 1
    assert text.count('title="Master of broker orders, group default"') == 1


def test_the_filter_looks_at_names_and_profiles() -> None:
    """What does not fit is not listed; the filter stays in its field."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("other", "default")
    answer = world.client("viewer").get("/containers?filter=fabr", HX_Request="true")
    assert "container-root" in answer.text
    assert "container-other" not in answer.text
    assert "<html" not in answer.text


def test_a_child_is_stopped_by_who_may() -> None:
    """An operator stops a child; a viewer does not; a root container is refused."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("node", parent="root")
    refused = world.client("viewer").post("/api/v1/containers/stop", {"names": ["node"]})
    assert (refused.status, refused.json["error"]["code"]) == (403, "not_allowed")
    done = world.client("operator").post("/api/v1/containers/stop", {"names": ["node"]})
    assert done.json == {"message": "node: stopping"}
    assert world.containers.get("node").desired.value == "stopped"
    root = world.client("operator").post("/api/v1/containers/stop", {"names": ["root"]})
    assert root.status == 409


def test_a_browser_needs_the_token_of_its_pages() -> None:
    """Without it a change is refused: the request may come from another site."""
    world = ConsoleWorld()
    world.container("root", "fabric")
    world.container("node", parent="root")
    browser = world.browser("operator")
    form = {"names": ["node"]}
    assert browser.post("/api/v1/containers/stop", form, form=True).status == 200
    del browser.headers["X-CSRF-Token"]
    assert browser.post("/api/v1/containers/start", form, form=True).status == 403
    assert world.containers.get("node").desired.value == "stopped"
