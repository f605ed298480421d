"""New certificates for the same names, and a new authority in steps: who trusts whom after each of them."""

from __future__ import annotations

import datetime
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fabric.certificates import Authority, Stage
from fabric.cli.main import fabric
from fabric.errors import CertificatesInvalid
from fabric.home import Home
from fabric.renewal import issued

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two containers' certificates and a user's, and a file that somebody else has put there."""
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path))
    home = Home(tmp_path)
    home.container("root").make()
    authority = Authority(home.certificates)
    authority.create()
    authority.sign_container("root", ["localhost", "192.0.2.1"], home.container_certificate("root"))
    authority.sign_container("node7", ["grün.example"], home.container_certificate("node7"))
    authority.sign_user("ann", home.user_certificate("ann"))
    foreign = Authority(tmp_path / "foreign")
    foreign.create()
    foreign.sign_container("root", ["h"], home.certificates / "foreign.pem")
    return home


@pytest.fixture
def authority(home: Home) -> Authority:
    """Of this home."""
    return Authority(home.certificates)


@pytest.fixture
def run(home: Home) -> Run:
    """Run a command; it must end with the exit code given."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(fabric, arguments)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def first(path: Path) -> x509.Certificate:
    """The first certificate of a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def trusts(authorities: bytes, path: Path) -> bool:
    """Whether a client with these authorities takes a server's certificate."""
    store = Store(x509.load_pem_x509_certificates(authorities))
    try:
        PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost")).verify(first(path), [])
    except VerificationError:
        return False
    return True


def foreign_authority() -> bytes:
    """A company's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def test_renewed_certificates_have_the_same_names(run: Run, home: Home) -> None:
    """And new keys; what others have signed is left alone; files of other hosts are to be copied there."""
    paths = [home.container_certificate("root"), home.container_certificate("node7")]
    before = [first(path) for path in paths]
    foreign = (home.certificates / "foreign.pem").read_bytes()
    said = run("certificate-renew").stdout
    for path, old in zip(paths, before, strict=True):
        new = first(path)
        assert new.public_key() != old.public_key() and new.subject == old.subject
        names = [
            each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for each in (old, new)
        ]
        assert names[0] == names[1]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (home.certificates / "foreign.pem").read_bytes() == foreign
    assert f"Copy to where they are used: {paths[1]}, {home.user_certificate('ann')}" in said


def test_some_are_renewed(run: Run, home: Home) -> None:
    """Who is named; a name without a certificate stops all of it; wrong days change nothing."""
    before = home.container_certificate("root").read_bytes()
    made = json.loads(run("certificate-renew", "--user", "ann", "--days", "9", "--output", "json").stdout)
    assert [each["subject"] for each in made] == ["ann"]
    missing = run("certificate-renew", "--container", "root", "--container", "node8", code=1)
    assert "no certificate of the container node8" in missing.output
    assert "1 to 3650 days" in run("certificate-renew", "--days", "0", code=1).output
    assert home.container_certificate("root").read_bytes() == before


def test_where_there_is_nothing(
    run: Run, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an authority it is said how there comes to be one; without certificates likewise."""
    monkeypatch.setenv("FABRIC_HOME", str(tmp_path / "other"))
    for command in (["certificate-renew"], ["certificate-rollover"], ["certificate-rollover", "begin"]):
        assert "certificate-create" in run(*command, code=1).output
    Authority(tmp_path / "other" / "certificates").create()
    assert "There are no certificates here" in run("certificate-renew").output


def test_a_rollover_step_by_step(run: Run, home: Home, authority: Authority) -> None:
    """At each step, and if it is repeated, clients with the old, both and the new authority see what fits."""
    root = home.container_certificate("root")
    old = authority.certificate_path.read_bytes()
    assert "certificate-rollover begin" in run("certificate-rollover").output

    assert "certificate-rollover switch" in run("certificate-rollover", "begin").output
    both = authority.certificate_path.read_bytes()
    new = both.removeprefix(old)
    assert "certificate-rollover switch" in run("certificate-rollover", "begin").output
    assert authority.certificate_path.read_bytes() == both and both.startswith(old)
    assert [trusts(each, root) for each in (old, both, new)] == [True, True, False]
    assert stat.S_IMODE((home.certificates / "ca-next-key.pem").stat().st_mode) == 0o600
    run("certificate-renew")
    assert trusts(old, root), "until the switch the old one signs"

    record = json.loads(run("certificate-rollover", "switch", "--output", "json").stdout)
    assert record["stage"] == "switched"
    assert [each["subject"] for each in record["renewed"]] == ["node7", "root", "ann"]
    assert [each["signs"] for each in record["authorities"]] == [True, False]
    signed = root.read_bytes()
    assert "certificate-rollover finish" in run("certificate-rollover", "switch").output
    assert root.read_bytes() == signed
    assert [trusts(each, root) for each in (old, both, new)] == [False, True, True]
    assert not (home.certificates / "ca-next-key.pem").exists()

    assert "once more" in run("certificate-rollover", "finish").output
    assert authority.certificate_path.read_bytes() == new
    assert "certificate-rollover begin" in run("certificate-rollover", "finish").output
    assert trusts(new, root)


def test_steps_in_the_wrong_order_are_refused(run: Run, home: Home, authority: Authority) -> None:
    """Each says which one is next, and changes nothing."""
    assert "No rollover has begun" in run("certificate-rollover", "switch", code=1).output
    run("certificate-rollover", "begin")
    assert "still signs" in run("certificate-rollover", "finish", code=1).output
    kept = home.container_certificate("root").read_bytes()
    run("certificate-rollover", "switch")
    assert "not finished" in run("certificate-rollover", "begin", code=1).output
    home.container_certificate("root").write_bytes(kept)  # somebody brings an old file back
    refused = run("certificate-rollover", "finish", code=1).output
    assert "Nothing was dropped" in refused and "root.pem" in refused and "node7.pem" not in refused
    assert authority.stage() is Stage.SWITCHED


def test_a_step_that_was_cut_off_is_repeated(home: Home, authority: Authority) -> None:
    """After a key without its certificate, and after the rename that switches."""
    trusted = authority.certificate_path.read_bytes()
    authority.begin()
    authority.certificate_path.write_bytes(trusted)
    assert authority.stage() is Stage.SETTLED
    new = authority.begin()
    (home.certificates / "ca-next-key.pem").replace(home.certificates / "ca-key.pem")
    assert authority.stage() is Stage.SWITCHED
    assert all(not each.is_current for each in issued(authority))
    authority.switch()
    assert first(authority.certificate_path) == new


def test_authorities_of_others_stay(authority: Authority, tmp_path: Path) -> None:
    """What somebody has added to `ca.pem` is neither a rollover nor dropped by one."""
    ours = authority.certificate_path.read_bytes()
    company = foreign_authority()
    authority.certificate_path.write_bytes(company + ours)
    assert authority.stage() is Stage.SETTLED
    authority.begin()
    authority.switch()
    [dropped] = authority.finish()
    assert dropped == x509.load_pem_x509_certificate(ours)
    assert company in authority.certificate_path.read_bytes()


def test_a_new_authority_ends_a_rollover(authority: Authority) -> None:
    """`--new-authority` leaves one; damaged files are named."""
    authority.begin()
    authority.create()
    assert authority.stage() is Stage.SETTLED
    (authority.folder / "ca-next-key.pem").write_bytes(b"nothing")
    with pytest.raises(CertificatesInvalid, match="is damaged"):
        authority.stage()


def test_commands_change_certificates_one_after_the_other(
    run: Run, home: Home, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits, says for whom, and gives up with nothing changed; reading waits for nobody."""
    monkeypatch.setattr("fabric.host_lock.POLL_S", 0.001)
    monkeypatch.setattr("fabric.host_lock.WAIT_S", 0.002)
    run("certificate-rollover", "begin")
    before = {path: path.read_bytes() for path in home.certificates.rglob("*.pem")}
    commands = [
        ["certificate-create", "--new-authority", "--user", "bob"],
        ["certificate-create", "--user", "bob"],
        ["certificate-renew"],
        ["certificate-rollover", "switch"],
    ]
    with authority.changing("fabric certificate-rollover switch"):
        for command in commands:
            refused = run(*command, code=1)
            assert (
                f"Waiting for `fabric certificate-rollover switch` (process {os.getpid()} of "
                in refused.stderr
            )
            assert "is not done with this host yet; nothing was changed" in refused.stderr
            assert "Repeat the command" in refused.stderr
        assert "certificate-rollover switch" in run("certificate-rollover").output
    assert {path: path.read_bytes() for path in home.certificates.rglob("*.pem")} == before
    run("certificate-rollover", "switch")
    assert stat.S_IMODE((home.certificates / "lock").stat().st_mode) == 0o600
