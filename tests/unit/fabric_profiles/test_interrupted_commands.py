"""Ctrl-C in commands that wait: it ends them, and they say what goes on without them, or is not done."""

from collections.abc import Callable

import pytest
from click.testing import Result

from fabric.cli.context import CommandContext
from fabric.store import ContainerStore


@pytest.mark.parametrize(
    ("words", "waits_in", "said"),
    [
        ("container-start broker", "lifecycle.Lifecycle.start", "Container broker goes on starting."),
        ("container-stop broker", "lifecycle.Lifecycle.stop", "Container broker goes on stopping."),
        ("container-delete broker", "lifecycle.Lifecycle.delete", "Container broker is not deleted."),
        ("container-move broker root", "move.move_container", "Container broker may be stopped;"),
        ("container-restart --rolling broker", "rolling.Rolling.run", "Done: none."),
        ("container-upgrade --rolling 1.1 broker", "rolling.Rolling.run", "Done: none."),
        ("ensemble-add --force broker", "ensembles.Ensemble.change", "Give the same command again"),
        ("ensemble-password new", "password_change.PasswordChange.begin", "Give the same command again"),
        ("ensemble-password --commit", "password_change.PasswordChange.commit", "Give the command again"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else None,
)
def test_what_goes_on_is_said(
    run: Callable[..., Result],
    containers: ContainerStore,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    waits_in: str,
    said: str,
) -> None:
    """It ends with 130, without a stack trace, and says how things stand and what to type."""

    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    containers.create("broker", profiles=["default"], version="1.0", parent="root")
    monkeypatch.setattr(CommandContext, "zookeeper_password", "secret")
    monkeypatch.setattr("fabric.ensembles.Ensemble.check", lambda *_: None)
    monkeypatch.setattr("fabric.password_change.PasswordChange.is_open", True)
    monkeypatch.setattr(f"fabric.{waits_in}", interrupt)
    result = run(*words.split(), code=130)
    assert said in result.stderr
    assert "Traceback" not in result.output
