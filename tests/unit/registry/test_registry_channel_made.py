"""What is meant by what somebody says of connections with ZooKeeper."""

import itertools
from dataclasses import replace

import pytest

from broker.__main__ import main
from registry.channel import OPTIONS, PLAIN, ChannelNames, ChannelSettings, make_channel
from registry.errors import ChannelIncomplete

NAMES = ChannelNames("cert", "key", "user", "password")


def test_all_that_can_be_said() -> None:
    """Files, and names that do not matter, mean TLS; halves are refused; nothing means nothing."""
    for tls, ca, certificate, key, any_name, user, password in itertools.product((False, True), repeat=7):
        said = ChannelSettings(
            tls, "ca" * ca, "me" * certificate, "k" * key, any_name, "u" * user, "p" * password
        )
        is_half = (key and not certificate) or user != password
        if is_half:
            with pytest.raises(ChannelIncomplete):
                make_channel(said, NAMES)
            continue
        meant = replace(said, tls=tls or ca or certificate or any_name)
        assert make_channel(said, NAMES) == (None if meant == PLAIN else meant)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ChannelSettings(key="k"), "key is the key of a certificate: name that with cert."),
        (ChannelSettings(sasl_password="p"), "password is a user's: name him with user."),
        (ChannelSettings(sasl_user="ann"), "The password of ann is missing: give it with password."),
    ],
)
def test_what_is_missing_is_called_as_it_was_given(said: ChannelSettings, why: str) -> None:
    """By its name in the command line, or where else it stands."""
    with pytest.raises(ChannelIncomplete) as missing:
        make_channel(said, NAMES)
    assert str(missing.value) == why


def test_a_password_is_asked_for() -> None:
    """Once all else is right, and of who is known."""
    asked: list[str] = []

    def ask(user: str) -> str:
        asked.append(user)
        return "told"

    login = ChannelSettings(sasl_user="ann")
    assert make_channel(login, NAMES, ask) == replace(login, sasl_password="told")
    with pytest.raises(ChannelIncomplete):
        make_channel(replace(login, key="k"), NAMES, ask)
    assert make_channel(replace(login, sasl_password="given"), NAMES, ask) == replace(
        login, sasl_password="given"
    )
    assert asked == ["ann"]


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--zookeeper-key=me.key", OPTIONS.certificate),
        ("--zookeeper-sasl-password=secret", OPTIONS.sasl_user),
        ("--zookeeper-sasl-user=ann", OPTIONS.sasl_password),
    ],
)
def test_a_broker_without_a_container_has_the_same_rules(option: str, why: str) -> None:
    """It ends before it has begun, and says what is missing."""
    with pytest.raises(SystemExit, match=why):
        main(["--zookeeper-url=zk:2281", "--data=/nowhere", option])
