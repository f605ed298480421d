"""The fabric's own authority: what it makes, who can read it, and what it refuses."""

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from fabric.certificates import Authority
from fabric.errors import CertificatesInvalid, InvalidName
from fabric.home import Home
from fabric.renewal import issued

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A new one."""
    made = Authority(tmp_path / "certificates", NOW)
    made.create()
    return made


def load(path: Path) -> x509.Certificate:
    """The first certificate of a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_keys_are_their_owners_only(authority: Authority, tmp_path: Path) -> None:
    """Also the folder, and files in folders that have to be made."""
    folder = tmp_path / "certificates"
    paths = [authority.sign_container("root", ["h"], folder / "root.pem").path]
    paths.append(authority.sign_user("ann", folder / "users" / "ann.pem").path)
    for path in (*paths, folder / "ca-key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" not in authority.certificate_path.read_bytes()
    assert sorted(each.name for each in folder.iterdir()) == ["ca-key.pem", "ca.pem", "root.pem", "users"]


def test_a_containers_certificate(authority: Authority, tmp_path: Path) -> None:
    """It is for its names and addresses, of servers only, and stands with its chain and key in one file."""
    hosts = ["h.example.com", "*.h.example.com", "192.0.2.1", "::1", "grün.example"]
    made = authority.sign_container("root", hosts, tmp_path / "root.pem", 10)
    certificate = load(made.path)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "h.example.com",
        "*.h.example.com",
        "xn--grn-ioa.example",
    ]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "::1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_after_utc == NOW + 10 * DAY == made.expires
    assert certificate.not_valid_before_utc < NOW
    assert len(x509.load_pem_x509_certificates(made.path.read_bytes())) == 2
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.path)
    assert made.to_json() == {
        "path": str(tmp_path / "root.pem"),
        "subject": "root",
        "hosts": hosts,
        "expires": "2030-01-11T00:00:00+00:00",
    }


def test_a_users_certificate(authority: Authority, tmp_path: Path) -> None:
    """Its common name is the user; it is no server's."""
    certificate = load(authority.sign_user("ann", tmp_path / "ann.pem").path)
    assert certificate.subject.rfc4514_string() == "CN=ann"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]


def test_nothing_outlives_the_authority(authority: Authority, tmp_path: Path) -> None:
    """And an authority that has ended signs nothing."""
    later = Authority(tmp_path / "certificates", NOW + 3600 * DAY)
    assert later.sign_user("ann", tmp_path / "ann.pem", 825).expires == NOW + 3650 * DAY
    with pytest.raises(CertificatesInvalid, match="has expired on 2039-12-30"):
        Authority(tmp_path / "certificates", NOW + 3650 * DAY).sign_user("ann", tmp_path / "x.pem")


def test_every_authority_has_a_name_of_its_own(authority: Authority, tmp_path: Path) -> None:
    """Otherwise clients would take one for the other, and fail with a signature that does not fit."""
    first = load(authority.certificate_path)
    assert authority.exists
    authority.create()
    assert load(authority.certificate_path).subject != first.subject
    assert not Authority(tmp_path / "nothing").exists


@pytest.mark.parametrize("hosts", [[], ["a..b"], [""], ["x"] * 101, ["a" * 64 + "ü.example"]])
def test_bad_hosts_are_refused(authority: Authority, tmp_path: Path, hosts: list[str]) -> None:
    """Nothing is written."""
    with pytest.raises(CertificatesInvalid):
        authority.sign_container("root", hosts, tmp_path / "root.pem")
    assert not (tmp_path / "root.pem").exists()


def test_bad_names_and_days_are_refused(authority: Authority, tmp_path: Path) -> None:
    """The name is a file's, too."""
    with pytest.raises(InvalidName):
        authority.sign_user("../ann", tmp_path / "x.pem")
    with pytest.raises(InvalidName):
        authority.sign_container("a/b", ["h"], tmp_path / "x.pem")
    with pytest.raises(CertificatesInvalid, match="more than 64 characters"):
        authority.sign_user("a" * 65, tmp_path / "x.pem")
    for days in (0, 3651):
        with pytest.raises(CertificatesInvalid, match="1 to 3650 days"):
            authority.sign_user("ann", tmp_path / "x.pem", days)


def test_a_damaged_authority_is_named(authority: Authority, tmp_path: Path) -> None:
    """Missing files, other files, and another authority's key."""
    folder = tmp_path / "certificates"
    other = Authority(tmp_path / "other", NOW)
    other.create()
    (folder / "ca-key.pem").write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    with pytest.raises(CertificatesInvalid, match="is not the key of"):
        authority.sign_user("ann", tmp_path / "x.pem")
    (folder / "ca-key.pem").write_bytes(b"nothing")
    with pytest.raises(CertificatesInvalid, match="is damaged"):
        authority.sign_user("ann", tmp_path / "x.pem")
    (folder / "ca-key.pem").unlink()
    with pytest.raises(CertificatesInvalid, match="cannot be read"):
        authority.sign_user("ann", tmp_path / "x.pem")
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificatesInvalid, match="cannot be written"):
        other.sign_user("ann", tmp_path / "file" / "x.pem")


@pytest.mark.parametrize("name", ["ca", "ca-key", "ca-next-key"])
def test_the_authoritys_files_are_no_containers(authority: Authority, tmp_path: Path, name: str) -> None:
    """A container may be called as one of them: its file lies elsewhere. Nothing is written over them."""
    home = Home(tmp_path)
    before = authority.certificate_path.read_bytes()
    made = authority.sign_container(name, ["h"], home.container_certificate(name))
    assert made.path == tmp_path / "certificates" / "containers" / f"{name}.pem"
    assert [each.path for each in issued(authority)] == [made.path]
    with pytest.raises(CertificatesInvalid, match="the authority's own file"):
        authority.sign_user("ann", tmp_path / "certificates" / "users" / ".." / f"{name}.pem")
    assert authority.certificate_path.read_bytes() == before
    assert authority.exists
