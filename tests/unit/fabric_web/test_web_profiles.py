"""Profiles, their history and versions: pages and API."""

import pytest
from support.console import ConsoleWorld, Response

from fabric.profiles import Profile
from fabric.store import ProfileStore

ONE = "/api/v1/profiles/1.0/shop"


@pytest.fixture
def world() -> ConsoleWorld:
    """A profile with a parent, and a container that has it."""
    world = ConsoleWorld()
    base = {"shop.web": {"port": "80", "password": "hush", "colour": "red"}}
    world.profiles.create(Profile("shop-base", configuration=base, attributes={"abstract": "true"}), "1.0")
    own = {"shop.web": {"port": "8080", "colour": "#deleted#"}}
    world.profiles.create(Profile("shop", parents=("shop-base",), configuration=own), "1.0")
    world.container("root", "fabric")
    world.container("node", "shop", parent="root")
    return world


def code_of(answer: Response) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status, answer.json["error"]["code"]


def test_the_list_counts_containers(world: ConsoleWorld) -> None:
    """The badge is green, orange or red against what is required, and says so in words."""
    admin = world.client("admin")
    assert '<span class="badge ok" title="1 running, none required">1</span>' in admin.get("/profiles").text
    admin.request("PUT", f"{ONE}/requirements", {"minimum": 3})
    text = admin.get("/profiles").text
    assert "requires 3 containers to be running but is currently running 1" in text
    assert "/containers/new?version=1.0&amp;profile=shop&amp;number=2" in text
    assert "/containers/new?" not in world.client("viewer").get("/profiles").text
    admin.request("PUT", "/api/v1/profiles/1.0/mq-amq/requirements", {"minimum": 1})
    assert 'class="badge bad"' in admin.get("/profiles").text
    rows = {row["id"]: row for row in admin.get("/api/v1/profiles").json}
    assert (rows["shop"]["minimum"], rows["shop"]["running"]) == (3, 1)
    assert rows["shop-base"]["abstract"]


def test_the_filter_and_hidden_profiles(world: ConsoleWorld) -> None:
    """Hidden ones are shown when asked for; the filter is a part of the name."""
    world.profiles.create(Profile("secret-one", attributes={"hidden": "true"}), "1.0")
    viewer = world.client("viewer")
    assert "secret-one" not in viewer.get("/profiles", HX_Request="true").text
    assert "secret-one" in viewer.get("/profiles?hidden=1", HX_Request="true").text
    found = viewer.get("/profiles?filter=SHOP", HX_Request="true").text
    assert "shop-base" in found and "mq-amq" not in found
    assert viewer.get("/profiles?version=7").status == 404


def test_the_page_says_who_sets_what(world: ConsoleWorld) -> None:
    """A covered value is struck, a deleted key is said to be; secrets are an administrator's."""
    admin = world.client("admin").get("/profiles/1.0/shop").text
    assert "<s><code>80</code></s>" in admin and "<code>8080</code>" in admin
    assert "taken away" in admin and "hush" in admin
    viewer = world.client("viewer")
    text = viewer.get("/profiles/1.0/shop").text
    assert "hush" not in text and "Delete</button>" not in text
    detail = viewer.get(ONE).json
    assert detail["configuration"]["shop.web"] == {"port": "8080", "password": "••••••"}
    assert detail["document"] is None
    assert world.client("admin").get(ONE).json["configuration"]["shop.web"]["password"] == "hush"
    assert viewer.get("/profiles/1.0/nothing").status == 404
    assert viewer.get("/profiles/1.0/shop/edit").status == 403


def test_a_document_is_checked_and_saved(world: ConsoleWorld) -> None:
    """It is kept as typed, with the line ends of a file; what cannot be used is not saved."""
    browser = world.browser("admin")
    revision = browser.get(ONE).json["revision"]
    text = "# mine\r\nparents: [default]\r\n"
    bad = browser.post(f"{ONE}/check", {"document": "parents: [nobody]", "revision": "0"}, form=True)
    assert code_of(bad) == (400, "parent_missing")
    assert browser.post(f"{ONE}/check", {"document": text}, form=True).status == 200
    form = {"document": text, "revision": str(revision)}
    saved = browser.request("PUT", f"{ONE}/document", form, form=True)
    assert saved.json == {"message": "Saved profile shop"}
    assert world.profiles.document("shop", "1.0")[0] == b"# mine\nparents: [default]\n"
    again = browser.request("PUT", f"{ONE}/document", {"document": "", "revision": str(revision)}, form=True)
    assert code_of(again) == (409, "changed_meanwhile")
    assert "# mine" in browser.get("/profiles/1.0/shop/edit").text


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("a: [", "profile_invalid"),
        ("configuration: {pid: {a: [1]}}", "profile_invalid"),
        ("configuration: {a: {b: '1'}}\nconfiguration: {c: {d: '1'}}", "profile_invalid"),
        ("configuration: {a: {b: '1', b: '2'}}", "profile_invalid"),
        ("parents: [shop]", "profile_cycle"),
        ("parents: ['../x']", "invalid_name"),
    ],
)
def test_documents_that_cannot_be_used(world: ConsoleWorld, document: str, code: str) -> None:
    """Each is refused by its name, and the profile stays."""
    before = world.profiles.document("shop", "1.0")
    body = {"document": document, "revision": before[1]}
    answer = world.client("admin").request("PUT", f"{ONE}/document", body)
    assert code_of(answer) == (400, code)
    assert world.profiles.document("shop", "1.0") == before


def test_a_profile_is_created_copied_and_deleted(world: ConsoleWorld) -> None:
    """What is in use goes only when it is said to be taken from its containers."""
    admin = world.client("admin")
    body = {"id": "cafe", "parents": ["shop-base"], "abstract": True}
    assert admin.post("/api/v1/profiles/1.0", body).status == 200
    assert world.profiles.get("cafe", "1.0").abstract
    assert code_of(admin.post("/api/v1/profiles/1.0", body)) == (409, "profile_exists")
    assert admin.post(f"{ONE}/copy", {"target": "shop2"}).status == 200
    assert world.profiles.get("shop2", "1.0").parents == ("shop-base",)
    assert code_of(admin.request("DELETE", ONE)) == (409, "profile_in_use")
    assert admin.request("DELETE", f"{ONE}?unassign=true").status == 200
    assert world.containers.profiles("node") == ()
    assert code_of(admin.request("DELETE", ONE)) == (404, "profile_not_found")


def test_parents_are_replaced(world: ConsoleWorld) -> None:
    """In the order given; none is allowed, an unknown one is not."""
    admin = world.client("admin")
    body = {"parents": ["default", "shop-base"]}
    assert admin.request("PUT", f"{ONE}/parents", body).status == 200
    assert world.profiles.get("shop", "1.0").parents == ("default", "shop-base")
    assert code_of(admin.request("PUT", f"{ONE}/parents", {"parents": ["x"]})) == (400, "parent_missing")
    assert world.browser("admin").request("PUT", f"{ONE}/parents", {"parents": ""}, form=True).status == 200
    assert world.profiles.get("shop", "1.0").parents == ()


def test_requirements_contradict_nothing(world: ConsoleWorld) -> None:
    """Empty fields of the form say nothing; a minimum above the maximum is refused."""
    browser = world.browser("admin")
    address = f"{ONE}/requirements"
    assert browser.request("PUT", address, {"minimum": "2", "maximum": ""}, form=True).status == 200
    assert world.profiles.requirements().of("shop").minimum_instances == 2
    wrong = browser.request("PUT", address, {"minimum": "2", "maximum": "1"}, form=True)
    assert code_of(wrong) == (400, "requirements_invalid")
    assert browser.request("PUT", address, {"minimum": "-1"}, form=True).status == 400


def test_the_history_is_shown_and_restored(world: ConsoleWorld) -> None:
    """Who changed what; a document comes back, and that is written down as well."""
    admin = world.client("admin")
    revision = world.profiles.document("shop", "1.0")[1]
    body = {"document": "attributes: {note: '<b>new</b>'}", "revision": revision}
    admin.request("PUT", f"{ONE}/document", body)
    entries = admin.get(f"{ONE}/history").json
    assert [(one["user"], one["action"]) for one in entries] == [("admin", "changed"), ("", "found")]
    page = admin.get("/profiles/1.0/shop/history").text
    assert "&lt;b&gt;new" in page and "<b>new" not in page
    old = entries[1]["number"]
    document = admin.get(f"{ONE}/history/{old}").json
    assert "shop-base" in document["document"] and document["diff"]
    assert admin.post(f"{ONE}/history/{old}/restore").status == 200
    assert world.profiles.get("shop", "1.0").parents == ("shop-base",)
    assert admin.get(f"{ONE}/history").json[0]["action"] == "restored"
    assert code_of(admin.get(f"{ONE}/history/999")) == (404, "document_not_found")
    assert code_of(admin.get(f"{ONE}/history/-1")) == (400, "request_invalid")
    assert world.client("viewer").get(f"{ONE}/history/{old}").status == 403


def test_a_deleted_profile_is_restored(world: ConsoleWorld) -> None:
    """Its history has what it was."""
    admin = world.client("admin")
    ProfileStore(world.console.session, "ada").delete("shop", "1.0", unassign=True)
    assert "deleted" in admin.get("/profiles/1.0/shop/history").text
    number = admin.get(f"{ONE}/history").json[0]["number"]
    assert admin.post(f"{ONE}/history/{number}/restore").status == 200
    assert world.profiles.exists("shop", "1.0")
    assert admin.get("/profiles/1.0/never-there/history").status == 404


def test_a_profile_that_cannot_be_understood_is_shown(world: ConsoleWorld) -> None:
    """It does not hide the others, and can be corrected."""
    world.registry.set("/fabric/configs/versions/1.0/profiles/shop", b"a: [")
    admin = world.client("admin")
    assert "▲ invalid" in admin.get("/profiles").text
    assert "it is not YAML" in admin.get("/profiles/1.0/shop").text
    assert admin.get("/profiles/1.0/shop/edit").status == 200
    assert admin.get(ONE).json["problem"]


def test_versions_are_listed_made_and_deleted(world: ConsoleWorld) -> None:
    """A copy, the default one, and what is in use stays."""
    admin = world.client("admin")
    made = admin.post("/api/v1/versions", {"description": "try <it>"})
    assert made.json == {"message": "Created version: 1.1 as copy of: 1.0"}
    assert "try &lt;it&gt;" in admin.get("/profiles/versions").text
    assert code_of(admin.post("/api/v1/versions", {"id": "1.1"})) == (409, "version_exists")
    assert code_of(admin.request("DELETE", "/api/v1/versions/1.0")) == (409, "version_in_use")
    assert admin.request("PUT", "/api/v1/versions/default", {"id": "1.1"}).status == 200
    assert [one["is_default"] for one in admin.get("/api/v1/versions").json] == [False, True]
    admin.post("/api/v1/versions", {"id": "2.0", "make_default": True})
    browser = world.browser("admin")
    assert browser.post("/api/v1/versions/delete", {"id": "1.1"}, form=True).status == 200
    assert code_of(admin.request("DELETE", "/api/v1/versions/1.1")) == (404, "version_not_found")
    assert code_of(world.client("operator").post("/api/v1/versions", {})) == (403, "not_allowed")


def test_two_versions_are_compared_on_a_page(world: ConsoleWorld) -> None:
    """Added, removed and changed profiles, with the lines."""
    admin = world.client("admin")
    admin.post("/api/v1/versions", {})
    admin.post("/api/v1/profiles/1.1", {"id": "extra"})
    found = admin.get("/api/v1/versions/1.0/compare/1.1").json
    assert [(one["profile"], one["kind"]) for one in found] == [("extra", "added")]
    assert "extra" in admin.get("/profiles/compare?first=1.0&second=1.1").text
    assert "They have the same profiles." in admin.get("/profiles/compare?first=1.0&second=1.0").text
    assert admin.get("/profiles/compare?first=1.0&second=9").status == 404
