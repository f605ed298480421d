"""Groups of brokers, the form for a new one, and discovery, as pages and by the API."""

from urllib.parse import quote, urlencode

import pytest
from support.console import ConsoleWorld, Response

from fabric.mq import SERVER_PID_PREFIX
from fabric.profiles import Profile

XSS = "<script>alert(1)</script>"
PROFILE = "mq-broker-default.orders"


@pytest.fixture
def world() -> ConsoleWorld:
    """A console with a root container, and an administrator's client in `world.admin`."""
    made = ConsoleWorld()
    made.container("root", "fabric")
    return made


def create(world: ConsoleWorld, name: str = "orders", **said: object) -> Response:
    """Create a broker as an administrator."""
    return world.client("admin").post("/api/v1/mq/brokers", {"name": name, "group": "default", **said})


def with_pair(world: ConsoleWorld) -> None:
    """A broker that two containers run."""
    create(world)
    world.container("a", PROFILE, parent="root")
    world.container("b", PROFILE, parent="root")
    world.broker("default", "orders", "a", "tcp://127.0.0.1:1", "stomp://127.0.0.1:2")
    world.broker("default", "orders", "b")


# ---- the page


def test_a_broker_nobody_runs_leads_to_the_page_that_creates_its_containers(world: ConsoleWorld) -> None:
    """Filled in with profile, version, parent, a free name and the number that lacks."""
    create(world)
    text = world.client("admin").get("/mq").text
    link = f"/containers/new?profile={PROFILE}&amp;version=1.0&amp;parent=root&amp;name=orders-1&amp;number=2"
    assert text.count(link) == 2  # the badge and the indicator
    assert 'title="No containers, click to create some"' in text
    assert "this profile requires 2 containers to be running but is currently running 0 containers" in text
    assert 'class="badge bad"' in text


def test_who_may_not_create_is_offered_nothing(world: ConsoleWorld) -> None:
    """An operator sees the numbers, and no way to change them."""
    create(world)
    text = world.client("operator").get("/mq").text
    assert "Nobody runs it" in text
    assert "/containers/new" not in text
    assert "/mq/new" not in text


def test_the_master_is_marked(world: ConsoleWorld) -> None:
    """In words, in a title and by its class; its slave says what it is."""
    with_pair(world)
    text = world.client("viewer").get("/mq").text
    assert "Container: a is the master for broker: orders" in text
    assert text.count('class="mq-container master"') == 1
    assert text.count("★ master") == 1
    assert "slave</small>" in text
    assert '<span class="badge ok"' in text
    assert 'href="/mq/default/orders"' in text


def test_more_than_the_maximum_and_less_than_the_minimum_are_orange(world: ConsoleWorld) -> None:
    """One of two, and then two of at most one."""
    create(world)
    world.container("a", PROFILE, parent="root")
    assert 'class="badge warn"' in world.client("viewer").get("/mq").text
    world.container("b", PROFILE, parent="root")
    assert 'class="badge ok"' in world.client("viewer").get("/mq").text
    world.container("c", PROFILE, parent="root")
    world.profiles.update_requirements(
        lambda now: now.with_profile(type(now.of(PROFILE))(PROFILE, 1, 2)),
    )
    assert 'class="badge warn"' in world.client("viewer").get("/mq").text


@pytest.mark.parametrize(
    ("text", "shown", "hidden"),
    [
        ("master", ["container-default-orders-a"], ["container-default-orders-b", "profile-default-mq-amq"]),
        ("b", ["container-default-orders-b"], []),
        ("ORDERS", ["container-default-orders-a", "container-default-orders-b"], ["profile-default-mq-amq"]),
        ("default", ["profile-default-mq-amq"], []),
    ],
)
def test_the_filter_finds_names_and_masters(
    world: ConsoleWorld, text: str, shown: list[str], hidden: list[str]
) -> None:
    """Groups, profiles, brokers, containers, and what they are."""
    with_pair(world)
    answer = world.client("viewer").get(f"/mq?filter={text}", HX_Request="true").text
    for name in shown:
        assert f'id="{name}"' in answer
    for name in hidden:
        assert f'id="{name}"' not in answer


def test_a_filter_that_nothing_fits_says_so(world: ConsoleWorld) -> None:
    """And not that there are no brokers."""
    answer = world.client("viewer").get("/mq?filter=nothing-like-that").text
    assert "No broker fits the filter." in answer


def test_a_fabric_without_brokers_says_what_to_do(world: ConsoleWorld) -> None:
    """A button for who may, a sentence for others."""
    for profile in world.profiles.profile_ids("1.0"):
        if profile in ("mq-amq", "mq-default"):
            world.profiles.delete(profile, "1.0")
    admin, viewer = world.client("admin").get("/mq").text, world.client("viewer").get("/mq").text
    assert "There are no brokers configured in this fabric." in admin
    assert "Create broker configuration" in admin
    assert "Create broker configuration" not in viewer


def test_another_version_can_be_chosen(world: ConsoleWorld) -> None:
    """One that does not exist is refused."""
    world.profiles.create_version("2.0")
    answer = world.client("viewer").get("/mq?version=2.0").text
    assert '<option value="2.0" selected>' in answer
    assert "There are no brokers configured" in answer
    assert world.client("viewer").get("/mq?version=9").status == 404


def test_names_cannot_bring_html_along(world: ConsoleWorld) -> None:
    """What a hand-written profile or a member says is shown as text."""
    values = {"broker-name": XSS, "group": f'"{XSS}', "kind": XSS}
    world.profiles.put(Profile("evil", configuration={f"{SERVER_PID_PREFIX}x": values}), "1.0")
    world.container("a", "evil", parent="root", result=XSS)
    for path in ("/mq", "/mq/diagram", f"/mq?filter={quote(XSS)}", f"/mq/new?name={quote(XSS)}"):
        answer = world.client("admin").get(path)
        assert answer.status == 200
        assert XSS not in answer.text
    assert (
        XSS in world.client("admin").get("/api/v1/mq").json["groups"][0]["profiles"][0]["brokers"][0]["name"]
    )


def test_a_profile_that_cannot_be_understood_hides_no_others(world: ConsoleWorld) -> None:
    """Its neighbours are shown."""
    create(world)
    world.registry.put("/fabric/configs/versions/1.0/profiles/broken", b"[")
    assert PROFILE in world.client("viewer").get("/mq").text


# ---- the form


def check(world: ConsoleWorld, **said: str) -> str:
    """What the form is told while it is filled in."""
    return world.client("admin").get(f"/mq/new?{urlencode(said)}", HX_Request="true").text


def test_the_form_says_what_it_would_create(world: ConsoleWorld) -> None:
    """Profiles, connectors, the directory, and how many containers."""
    text = check(world, name="orders", group="eu", kind="StandAlone")
    assert "<b>mq-broker-eu.orders</b>" in text
    assert "<b>mq-client-eu</b>" in text
    assert "${fabric.data}/eu.orders" in text
    assert "1 container<" in text
    assert "disabled" not in text


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"name": "orders"}, "Please choose a different broker name as orders already exists"),
        ({"name": "orders", "profile": "other"}, "orders already exists"),
        ({"name": "a b"}, "Broker name &#39;a b&#39; is invalid"),
        ({"name": "x", "group": "a/b"}, "Group name"),
        ({"name": "x", "profile": "-"}, "Profile name"),
        ({"name": "x", "kind": "Replicated"}, "not available in this version"),
        ({"name": "x", "kind": "Other"}, "There is no kind"),
        ({"name": "x", "connectors": "smtp"}, "There is no connector &#39;smtp&#39;"),
        ({"name": "x", "port_openwire": "99999"}, "is not a port"),
        ({"name": "x", "connectors": "stomp", "port_openwire": "1"}, "no connector &#39;openwire&#39;"),
        ({"name": "x", "minimum_instances": "0"}, "must be between 1 and"),
        ({"name": "x", "data": "${fabric.data}/orders"}, "keeps its messages in"),
        ({"name": "x", "parent_profile": "gone"}, "does not exist"),
        ({"name": "x", "properties": "nothing"}, "not of the form key = value"),
        ({"name": "x", "networks": "a b"}, "Group name"),
        ({"name": XSS}, "&lt;script&gt;"),
    ],
)
def test_the_form_says_what_is_wrong_while_it_is_filled_in(
    world: ConsoleWorld, said: dict[str, str], problem: str
) -> None:
    """The button is disabled then; the command line's options are not spoken of."""
    create(world)
    text = check(world, **said)
    assert problem in text
    assert "disabled" in text
    assert "--" not in text


def test_an_empty_form_asks_for_a_name(world: ConsoleWorld) -> None:
    """No error yet."""
    text = check(world, name="")
    assert "Give the broker a name." in text
    assert "disabled" in text


def test_what_a_link_says_is_filled_in(world: ConsoleWorld) -> None:
    """The group and the profile from where somebody comes."""
    text = world.client("admin").get("/mq/new?group=eu&profile=shared").text
    assert 'name="group" value="eu"' in text
    assert 'name="profile" value="shared"' in text
    assert '<option value="Replicated" disabled>' in text


# ---- the API


def test_a_broker_is_created_with_everything_that_was_said(world: ConsoleWorld) -> None:
    """As `mq-create` does."""
    answer = create(
        world,
        connectors=["openwire", "stomp"],
        tls=True,
        port_stomp="61613",
        data="/mnt/orders",
        minimum_instances=3,
        networks="a, b",
        properties="memoryUsage = 1 mb\n# a comment\n\nstoreUsage=2 gb",
    )
    assert answer.json == {"message": "Created broker orders in group default"}
    values = world.profiles.get(PROFILE, "1.0").configuration[f"{SERVER_PID_PREFIX}orders"]
    assert values["connectors"] == "openwire stomp openwire+ssl stomp+ssl"
    assert (values["stomp-port"], values["data"], values["network"]) == ("61613", "/mnt/orders", "a,b")
    assert (values["memoryUsage"], values["storeUsage"]) == ("1 mb", "2 gb")
    assert world.profiles.requirements().of(PROFILE).minimum_instances == 3
    assert world.profiles.exists("mq-client-default", "1.0")


def test_a_form_creates_a_broker_as_json_does(world: ConsoleWorld) -> None:
    """Fields that were left empty say nothing."""
    form = {"name": "orders", "group": "default", "minimum_instances": "", "connectors": ["stomp", "mqtt"]}
    answer = world.browser("admin").post("/api/v1/mq/brokers", form, form=True)
    assert answer.status == 200
    values = world.profiles.get(PROFILE, "1.0").configuration[f"{SERVER_PID_PREFIX}orders"]
    assert values["connectors"] == "stomp mqtt"


def test_a_second_broker_of_the_name_is_refused_and_the_first_stays(world: ConsoleWorld) -> None:
    """Two people with the same form: the second is told."""
    create(world, data="/first")
    answer = create(world, data="/second")
    assert (answer.status, answer.json["error"]["code"]) == (409, "broker_exists")
    values = world.profiles.get(PROFILE, "1.0").configuration[f"{SERVER_PID_PREFIX}orders"]
    assert values["data"] == "/first"
    assert create(world, group="other").status == 200


def test_what_cannot_be_created_is_refused(world: ConsoleWorld) -> None:
    """With the reason, and nothing is written."""
    assert create(world, name="a b").json["error"]["code"] == "invalid_name"
    assert create(world, kind="NPlusOne").status == 400
    assert create(world, version="9").status == 404
    assert create(world, unknown="x").status == 400
    assert create(world, name="x" * 5000).status == 400
    assert not [one for one in world.profiles.profile_ids("1.0") if one.startswith("mq-broker")]


def test_only_administrators_create_brokers(world: ConsoleWorld) -> None:
    """Operators and viewers are refused."""
    for user in ("operator", "viewer"):
        answer = world.client(user).post("/api/v1/mq/brokers", {"name": "orders"})
        assert answer.status == 403
        assert world.client(user).get("/mq/new").status == 403
        # what a template holds may be secret
        assert world.client(user).get("/api/v1/mq/check?name=x").status == 403
    assert world.client().post("/api/v1/mq/brokers", {"name": "orders"}).status == 401


def test_programs_get_groups_and_plans(world: ConsoleWorld) -> None:
    """What the page shows, as JSON; and what would be created."""
    with_pair(world)
    found = world.client("viewer").get("/api/v1/mq").json
    assert (found["version"], found["versions"]) == ("1.0", ["1.0"])
    profile = next(one for one in found["groups"][0]["profiles"] if one["id"] == PROFILE)
    assert (profile["running"], profile["minimum"], profile["state"]) == (2, 2, "satisfied")
    broker = profile["brokers"][0]
    assert (broker["name"], broker["master"]) == ("orders", "a")
    assert [one["role"] for one in broker["containers"]] == ["master", "slave"]
    plan = world.client("admin").get("/api/v1/mq/check?name=new&group=eu").json
    assert (plan["profile"], plan["required"]) == ("mq-broker-eu.new", 2)
    assert world.client("admin").get("/api/v1/mq/check?name=orders").status == 409


# ---- discovery


def test_discovery_lists_the_masters_services(world: ConsoleWorld) -> None:
    """One a line; slaves have none; any user will do, and nobody else."""
    with_pair(world)
    answer = world.client("viewer").get("/mq-discovery/default")
    assert answer.text == "tcp://127.0.0.1:1\nstomp://127.0.0.1:2\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert world.client().get("/mq-discovery/default").status == 401


def test_discovery_does_not_find_a_group_that_nobody_joined(world: ConsoleWorld) -> None:
    """Whatever its name."""
    for group in ("default", "other", "..", "a%2Fb", "%3Cscript%3E"):
        assert world.client("viewer").get(f"/mq-discovery/{group}").status == 404
