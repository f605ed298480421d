"""What people do with containers and profiles: as in the lab, with a mouse."""

import re

import pytest
from playwright.sync_api import expect
from support.browser import Visitor
from support.fabric import FabricForTests

pytestmark = pytest.mark.browser


def test_containers_come_up_stop_and_go(admin: Visitor) -> None:
    """Two are created with the form; the list shows them live; one is stopped, and both are deleted."""
    page = admin.open("/containers/new?profile=mq-client&number=2")
    page.get_by_label("Container name").fill("root")
    page.get_by_label("Number of containers").fill("1")
    expect(page.get_by_text("root is already in use")).to_be_visible()
    page.get_by_label("Container name").fill("worker")
    page.get_by_label("Number of containers").fill("2")
    expect(page.get_by_text("Will be created: worker, worker2")).to_be_visible()
    page.get_by_role("button", name="Create and start container").click()
    page.wait_for_url("**/containers")
    for name in ("worker", "worker2"):
        expect(page.locator(f"#container-{name}").get_by_label("Alive - Success")).to_be_visible()
    page.get_by_label("Choose worker2").check()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#container-worker2").get_by_label("Stopped", exact=True)).to_be_visible()
    expect(page.get_by_label("Choose worker2")).to_be_checked()
    page.get_by_label("Choose worker", exact=True).check()
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("This operation cannot be undone")
    expect(dialog.get_by_role("listitem")).to_have_text(["worker", "worker2"])
    dialog.get_by_role("button", name="Yes, delete").click()
    expect(page.locator("#container-worker")).to_have_count(0)
    expect(page.locator("#container-worker2")).to_have_count(0)


def test_the_root_container_gives_its_broker_up(admin: Visitor) -> None:
    """Taking the profile mq-amq from it ends its broker; the star goes; with the profile it comes back."""
    page = admin.open("/containers/root")
    star = page.get_by_label(re.compile("Master of broker root"))
    expect(star).to_be_visible()
    page.get_by_label("Choose mq-amq").check()
    page.get_by_role("button", name="Remove").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("listitem")).to_have_text(["mq-amq"])
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Successfully removed mq-amq from root")).to_be_visible()
    expect(star).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("dialog[open]").get_by_label("mq-amq", exact=True).check()
    page.locator("dialog[open]").get_by_role("button", name="Add").click()
    expect(star).to_be_visible()


def test_a_document_is_kept_in_the_page_if_it_cannot_be_saved(admin: Visitor, fabric: FabricForTests) -> None:
    """First it is no YAML, then somebody else was quicker: the text stays both times."""
    page = admin.open("/profiles/1.0/mq-client/edit")
    document = page.get_by_label("Document")
    document.fill(document.input_value() + "\nparents: [")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("it is not YAML")).to_be_visible()
    fabric.run("profile-edit", "--pid", "shop/colour=red", "mq-client")
    document.fill("attributes: {note: mine}")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("was changed by somebody else")).to_be_visible()
    assert document.input_value() == "attributes: {note: mine}"
    admin.forgive("400", "409")
    page = admin.open("/profiles/1.0/mq-client/edit")
    page.get_by_label("Document").fill("attributes: {note: mine}")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/mq-client")
    page = admin.open("/profiles/1.0/mq-client/history")
    expect(page.get_by_text("changed by admin")).to_be_visible()
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_role("button", name="Restore document 1").click()
    page.get_by_role("button", name="Yes, restore").click()
    page.wait_for_url("**/mq-client")
    expect(page.get_by_role("rowheader", name="shop")).to_be_visible()


def test_a_version_is_tried_on_a_container(admin: Visitor) -> None:
    """A copy is made, the root container moves to it and back."""
    page = admin.open("/profiles/versions")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Description").fill("A trial")
    page.locator("dialog[open]").get_by_role("button", name="Create").click()
    expect(page.get_by_role("cell", name="A trial")).to_be_visible()
    for version in ("1.1", "1.0"):
        page = admin.open("/containers/root")
        page.get_by_role("button", name="Change version").click()
        page.locator("dialog[open]").get_by_label("Version").select_option(version)
        page.locator("dialog[open]").get_by_role("button", name="Change version").click()
        expect(page.get_by_text(f"root: version {version} now")).to_be_visible()
        expect(page.locator("#container .badge", has_text=version)).to_be_visible()
