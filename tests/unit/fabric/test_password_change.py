"""The two steps of a change of the ensemble's password: their order, what is refused, what is repeated."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
from support.password_session import PasswordSession

from fabric.bootstrap import write_first_content
from fabric.errors import ChangedMeanwhile
from fabric.password_change import PasswordChange, PasswordChangeError
from fabric.store import ContainerStore
from registry import paths
from registry.password import ToldPassword

if TYPE_CHECKING:
    from registry.session import Session


class Scene:
    """A fabric with the containers root, its child east, and north on another host, of which some run.

    Time passes while the command waits; then `meanwhile` happens.
    """

    def __init__(self) -> None:
        self.registry = PasswordSession("old")
        self.session = cast("Session", self.registry)
        write_first_content(self.session)
        self.containers = ContainerStore(self.session)
        for name, fields in (("root", {}), ("east", {"parent": "root"}), ("north", {})):
            self.containers.create(name, profiles=["default"], version="1.0", fields=fields)
            self.start(name)
        self.now_s = 0.0
        self.said: list[str] = []
        self.meanwhile: Callable[[], None] = self.all_answer
        self.change = PasswordChange(
            self.session, self.containers, self.said.append, self.sleep, lambda: self.now_s
        )

    def start(self, name: str) -> None:
        """Let a container be connected."""
        self.registry.put(paths.container_alive(name), b'{"pid": 1, "host": "h", "started_at": 1}')

    def stop(self, name: str) -> None:
        """Let it be gone."""
        self.registry.delete(paths.container_alive(name))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.meanwhile()

    def all_answer(self) -> None:
        """Every connected container takes over what is told."""
        for name in self.registry.children(paths.alive()):
            self.registry.answer(name)

    def told(self) -> ToldPassword:
        """Return what the registry says."""
        told = self.registry.told_password()
        assert told is not None
        return told


@pytest.fixture
def scene() -> Scene:
    """All three run."""
    return Scene()


def test_everything_opens_to_both_before_anybody_is_told(scene: Scene) -> None:
    """The order: access lists, the word, the answers, access lists again."""
    order: list[str] = []
    scene.registry.before_write = order.append
    standing = scene.change.begin("new")
    assert standing.taken == ("east", "north", "root")
    assert (standing.waiting, standing.away) == ((), ())
    assert scene.registry.given == [("new", "old"), ("new", "old")]
    assert order[0] == paths.ensemble_password()
    assert (scene.told().password, scene.told().before) == ("new", "old")
    assert scene.change.is_open
    assert any("0 of 3 containers know; not yet: east, north, root" in line for line in scene.said)


def test_the_earlier_one_ends_when_all_know(scene: Scene) -> None:
    """First the containers know that it is the only one, then the access lists say so."""
    scene.change.begin("new")
    step = scene.told().step
    standing = scene.change.commit()
    assert standing.taken == ("east", "north", "root")
    assert (scene.told().password, scene.told().before) == ("new", "")
    assert scene.told().step != step
    assert scene.registry.given[-1] == ("new",)
    assert not scene.change.is_open
    scene.change.begin("newest")
    assert scene.told().passwords == ("newest", "new")


def test_who_does_not_answer_is_named_and_holds_the_second_step_up(scene: Scene) -> None:
    """Connected containers that do not know would be shut out; with force they are."""
    scene.meanwhile = lambda: [scene.registry.answer(name) for name in ("root", "east")] and None
    standing = scene.change.begin("new", timeout_s=5)
    assert standing.waiting == ("north",)
    assert scene.now_s >= 5
    with pytest.raises(PasswordChangeError, match="not yet known to: north") as refused:
        scene.change.commit()
    assert "--force" in refused.value.do_next
    assert scene.told().before == "old"
    waited_s = scene.now_s
    scene.change.commit(force=True, timeout_s=5)
    assert scene.now_s - waited_s < 5, "who is shut out is not waited for"
    assert scene.registry.given[-1] == ("new",)


def test_a_host_that_is_down_is_named(scene: Scene) -> None:
    """A container that is down on a host that knows is no trouble; a host without any that runs is."""
    scene.stop("north")
    scene.stop("east")
    standing = scene.change.begin("new")
    assert (standing.taken, standing.away) == (("root",), ("north",))
    with pytest.raises(PasswordChangeError, match="hosts of: north") as refused:
        scene.change.commit()
    assert "fabric ensemble-password --note" in refused.value.do_next
    scene.change.commit(force=True)
    assert scene.told().before == ""


def test_a_container_that_answered_and_stopped_is_no_trouble(scene: Scene) -> None:
    """Its host knows."""
    scene.change.begin("new")
    scene.stop("north")
    assert scene.change.standing().away == ()
    scene.change.commit()


@pytest.mark.parametrize("moment", ["first access lists", "word", "answers"])
def test_the_first_step_is_repeated_wherever_it_was_interrupted(scene: Scene, moment: str) -> None:
    """The same command completes it."""

    class Killed(Exception):
        """The command is gone."""

    def die(*_: object) -> None:
        raise Killed

    if moment == "first access lists":
        scene.registry.before_write = die
    elif moment == "word":
        scene.registry.before_write = lambda path: (
            die() if path.startswith(f"{paths.ensemble_password()}/") else None
        )
    else:
        scene.meanwhile = die
    with pytest.raises(Killed):
        scene.change.begin("new")
    scene.registry.before_write = lambda path: None
    scene.meanwhile = scene.all_answer
    if scene.registry.told_password() is None:
        scene.registry.password = "old"  # as the next command finds it noted
    assert scene.change.begin("new").taken == ("east", "north", "root")
    assert (scene.told().password, scene.told().before) == ("new", "old")


def test_the_second_step_is_repeated(scene: Scene) -> None:
    """Interrupted after the word, it is completed by the same command; complete, it changes nothing."""
    scene.change.begin("new")

    def die() -> None:
        raise KeyboardInterrupt

    scene.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        scene.change.commit()
    assert scene.registry.given[-1] == ("new", "old")
    scene.meanwhile = scene.all_answer
    for _ in range(2):
        scene.change.commit()
        assert scene.registry.given[-1] == ("new",)


def test_without_a_change_the_present_one_is_the_only_one(scene: Scene) -> None:
    """What an interrupted first step has left in access lists goes."""
    scene.change.commit()
    assert scene.registry.given == [("old",)]
    assert scene.registry.told_password() is None
    assert scene.change.standing().taken == ("east", "north", "root")


def test_what_cannot_be_is_refused_before_anything_is_changed(scene: Scene) -> None:
    """The present one, one that is none, and another one while a change is under way."""
    for password, said in (("old", "already"), ("", "empty"), ("zwölf", "ASCII")):
        with pytest.raises(PasswordChangeError, match=said):
            scene.change.begin(password)
    assert scene.registry.given == []
    scene.change.begin("new")
    with pytest.raises(PasswordChangeError, match="to another one than this") as refused:
        scene.change.begin("newer")
    assert "fabric ensemble-password --commit" in refused.value.do_next
    assert scene.change.begin("new").waiting == ()


def test_two_commands_at_once_do_not_mix(scene: Scene) -> None:
    """The one that comes second is told so."""
    rivals = [ToldPassword("rival", "theirs", before="old").to_bytes()]

    def rival(path: str) -> None:
        if rivals:
            scene.registry.put(paths.ensemble_password(), rivals.pop())

    scene.registry.before_write = rival
    with pytest.raises(ChangedMeanwhile):
        scene.change.begin("ours")
    assert scene.told().password == "theirs"
