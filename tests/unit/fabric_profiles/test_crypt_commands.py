"""`encrypt-message`, `crypt-…`, and what other commands do with secrets."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.memory_session import MemorySession

from fabric.cli.context import CommandContext
from fabric.crypt import KeyFile
from fabric.encrypted import encrypted_texts
from fabric.store import ContainerStore, ProfileStore
from registry import paths

Run = Callable[..., Result]
PASSPHRASE = "correct horse battery"
PID = "io.fabric8.mq.fabric.server-shop"
PROFILE = "mq-broker-default.shop"


@pytest.fixture
def key(run: Run, tmp_path: Path) -> KeyFile:
    """The host has a master key."""
    run("crypt-rotate")
    return KeyFile(tmp_path / "master.key")


def clear(key: KeyFile, value: str) -> str:
    """What is encrypted in a value."""
    (text,) = encrypted_texts(value)
    return key.read().decrypt(text)


def password(profiles: ProfileStore) -> str:
    """The broker's password as it stands in its profile."""
    return profiles.get(PROFILE, "1.0").configuration[PID]["network.password"]


def test_a_message_is_encrypted(run: Run, key: KeyFile) -> None:
    """Given, or from the standard input; what is printed opens with the host's key."""
    assert clear(key, run("encrypt-message", "secret").output) == "secret"
    assert clear(key, run("encrypt-message", "-", stdin="from stdin").output) == "from stdin"


def test_the_originals_algorithms_are_refused(run: Run, key: KeyFile) -> None:
    """They are weak; the error says what is used instead."""
    output = run("encrypt-message", "-a", "PBEWithMD5AndDES", "secret", code=1).output
    assert "PBEWithMD5AndDES is not offered" in output
    assert "AES-256-GCM" in output


def test_without_a_key_the_error_says_where_it_comes_from(run: Run) -> None:
    """Nothing is printed that could be taken for an encrypted value."""
    output = run("encrypt-message", "secret", code=1).output
    assert "crypt-import" in output
    assert "${crypt" not in output


def test_a_passphrase_opens_on_another_host(run: Run, tmp_path: Path) -> None:
    """What -p has encrypted opens where the same passphrase was typed in."""
    value = run("encrypt-message", "-p", PASSPHRASE, "secret").output
    run("crypt-import", "-p", "--passphrase", PASSPHRASE)
    assert clear(KeyFile(tmp_path / "master.key"), value) == "secret"


def test_a_passphrase_may_be_the_key_of_all(run: Run, key: KeyFile, tmp_path: Path) -> None:
    """Rotated to what a passphrase stands for, it is what other hosts get by typing it."""
    run("crypt-rotate", "-p", "--passphrase", PASSPHRASE)
    value = run("encrypt-message", "secret").output
    key.path.unlink()
    run("crypt-import", "-p", "--passphrase", PASSPHRASE)
    assert clear(key, value) == "secret"


def test_brokers_passwords_are_encrypted(run: Run, key: KeyFile, profiles: ProfileStore) -> None:
    """`mq-create` writes none in the clear, and other settings as they are."""
    network = ("--networks", "west", "--networks-username", "ann", "--networks-password", "secret")
    run("mq-create", *network, "--property", "ssl.keyStoreKeyPassword=other", "--group", "default", "shop")
    values = profiles.get(PROFILE, "1.0").configuration[PID]
    assert clear(key, values["network.password"]) == "secret"
    assert clear(key, values["ssl.keyStoreKeyPassword"]) == "other"
    assert values["network.userName"] == "ann"


def test_edited_passwords_are_encrypted(run: Run, key: KeyFile, profiles: ProfileStore) -> None:
    """`profile-edit` neither writes nor prints what was typed."""
    run("mq-create", "--group", "default", "shop")
    output = run("profile-edit", "--pid", f"{PID}/network.password=s3cr3t", PROFILE).output
    assert "s3cr3t" not in output
    assert clear(key, password(profiles)) == "s3cr3t"
    shown = run("profile-display", PROFILE).output
    assert "${crypt:v1." in shown
    assert "s3cr3t" not in shown


def test_without_a_key_secrets_stand_in_the_clear_and_that_is_said(run: Run, profiles: ProfileStore) -> None:
    """The command is not refused: existing fabrics have no key."""
    output = run("mq-create", "--group", "default", "--networks-password", "secret", "shop").output
    assert "network.password stands in the clear" in output
    output = run("profile-edit", "--pid", f"{PID}/network.password=other", PROFILE).output
    assert "network.password stands in the clear" in output
    assert password(profiles) == "other"


def test_secrets_are_listed_and_encrypted(run: Run, profiles: ProfileStore, tmp_path: Path) -> None:
    """`crypt-profiles` encrypts what `crypt-list` finds in the clear; neither shows a secret."""
    run("mq-create", "--group", "default", "--networks-password", "s3cr3t", "shop")
    listed = run("crypt-list")
    assert "IN THE CLEAR" in listed.output
    run("crypt-rotate")
    done = run("crypt-profiles").output
    assert f"Encrypted network.password of {PID}" in done
    records = json.loads(run("crypt-list", "--output", "json").output)
    assert [(each["property"], each["encrypted"], each["decryptable"]) for each in records] == [
        ("network.password", True, True)
    ]
    assert clear(KeyFile(tmp_path / "master.key"), password(profiles)) == "s3cr3t"
    assert "No known secret" in run("crypt-profiles", "--version", "1.0").output
    assert "s3cr3t" not in listed.output + done


def test_rotation_encrypts_everything_anew(run: Run, key: KeyFile, profiles: ProfileStore) -> None:
    """Comments in documents stay; old keys are kept until they are forgotten; again does no harm."""
    run("mq-create", "--group", "default", "--networks-password", "secret", "shop")
    document, revision = profiles.document(PROFILE, "1.0")
    profiles.save_document(profiles.get(PROFILE, "1.0"), b"# mine\n" + document, "1.0", revision)
    before, old = password(profiles), key.read().first
    assert "secrets in 1 profiles" in run("crypt-rotate").output
    assert profiles.document(PROFILE, "1.0")[0].startswith(b"# mine\n")
    assert password(profiles) != before
    assert clear(key, password(profiles)) == clear(key, before) == "secret"
    assert [each.id for each in key.read().all][1] == old.id
    assert "1 keys are forgotten, 1 kept" in run("crypt-rotate", "--forget").output
    assert clear(key, password(profiles)) == "secret"


def test_a_prepared_key_is_brought_to_other_hosts_first(
    run: Run, key: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host has the next key before anything is encrypted with it."""
    run("crypt-rotate", "--prepare")
    first, waiting = key.read().all
    run("crypt-export", str(tmp_path / "keys"), "--passphrase", PASSPHRASE)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    run("crypt-export", str(tmp_path / "keys"), "--passphrase", PASSPHRASE, code=1)
    run("crypt-rotate")
    assert [each.id for each in key.read().all] == [waiting.id, first.id]
    run("crypt-rotate", "--forget")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("FABRIC_HOME", str(other))
    assert "not on this" not in run("encrypt-message", "secret", code=1).output
    run("crypt-rotate", code=1)
    run("crypt-import", str(tmp_path / "keys"), "--passphrase", PASSPHRASE)
    assert KeyFile(other / "master.key").read().first.id == waiting.id
    assert clear(key, run("encrypt-message", "there").output) == "there"


def test_a_host_with_another_key_encrypts_nothing(run: Run, key: KeyFile, tmp_path: Path) -> None:
    """Other hosts could not open it; the error names both keys."""
    published = key.read().first.id
    key.path.unlink()
    run("crypt-import", "-p", "--passphrase", PASSPHRASE)
    output = run("encrypt-message", "secret", code=1).output
    assert f"the fabric's is {published}" in output


def test_the_key_may_lie_elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FABRIC_MASTER_KEY_FILE names the file, for secrets that are mounted."""
    monkeypatch.setenv("FABRIC_MASTER_KEY_FILE", str(tmp_path / "elsewhere"))
    run("crypt-rotate")
    assert (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "master.key").exists()


def test_no_key_is_in_the_registry(run: Run, key: KeyFile, session: MemorySession) -> None:
    """What is known of it there is its id, and the cipher."""
    run("encrypt-message", "-p", PASSPHRASE, "secret")
    content = {
        name: session.get(f"/fabric/authentication/crypt/{name}").data for name in ("key", "algorithm")
    }
    assert content == {"key": key.read().first.id.encode(), "algorithm": b"AES-256-GCM"}


def test_who_joins_is_told_of_the_key(
    run: Run, key: KeyFile, session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without it is told how to bring it; one that has it, or whose fabric has no secrets, is not."""
    monkeypatch.setattr(CommandContext, "join", lambda *_: None)
    monkeypatch.setattr(CommandContext, "zookeeper_password", "x")
    monkeypatch.setattr(
        "fabric.join.join_fabric",
        lambda home, address, session, options, say: ContainerStore(session).get("root"),
    )
    joining = ("join", "--zookeeper-password", "x", "zk:2181", "root")
    key_id = key.read().first.id
    key.path.rename(tmp_path / "kept")
    assert run(*joining).stderr == ""
    (tmp_path / "kept").rename(key.path)
    run("mq-create", "--property", "network.password=secret", "shop")
    assert run(*joining).stderr == ""
    key.path.unlink()
    said = run(*joining).stderr
    assert f"has not the master key {key_id}" in said
    assert "fabric crypt-import FILE" in said
    session.put(paths.profile("1.0", "damaged"), b"[")
    assert "is not known" in run(*joining).stderr
