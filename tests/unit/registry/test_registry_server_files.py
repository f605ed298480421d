"""The copies of certificates that a ZooKeeper server reads: what gets there and what does not."""

import logging
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from support.certificates import HOST, NOW, Keys, expired

from registry.server_files import (
    FILE_BYTES_MAX,
    FilesUnusable,
    Material,
    ServerFiles,
    fingerprint,
    read_material,
)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """An authority and a server's certificate."""
    return Keys(tmp_path / "keys")


@pytest.fixture
def files(tmp_path: Path) -> ServerFiles:
    """The copies of a server, none yet."""
    return ServerFiles(tmp_path / "tls")


def test_what_is_read(keys: Keys) -> None:
    """The leaf is what clients see; the signer is the authority that proves it."""
    material = read_material(keys.server, keys.trust)
    material.prove(HOST)
    material.prove("")
    authority = keys.trust.read_bytes()
    assert list(material.trusted) == [fingerprint(authority)] == [material.signer]
    assert ssl.DER_cert_to_PEM_cert(material.leaf).strip().encode() in keys.server.read_bytes()
    assert "PRIVATE" not in repr(material)


def test_the_signer_is_the_one_of_several(keys: Keys, tmp_path: Path) -> None:
    """Also of a certificate that has ended; nobody's is called so."""
    other = Keys(tmp_path / "other")
    both = tmp_path / "both.pem"
    both.write_bytes(other.trust.read_bytes() + keys.trust.read_bytes())
    material = read_material(keys.server, both)
    assert material.signer == fingerprint(keys.trust.read_bytes())
    assert len(material.trusted) == 2
    old = expired(tmp_path / "old")
    assert read_material(old.server, old.trust).signer == fingerprint(old.trust.read_bytes())
    assert read_material(keys.server, other.trust).signer == ""


def test_what_others_do_not_take_is_told(keys: Keys, tmp_path: Path) -> None:
    """Another name, another authority, a time that is over."""
    with pytest.raises(FilesUnusable, match="Hostname mismatch"):
        read_material(keys.server, keys.trust).prove("elsewhere")
    with pytest.raises(FilesUnusable, match="self-signed certificate in"):
        read_material(keys.server, Keys(tmp_path / "other").trust).prove(HOST)
    old = expired(tmp_path / "old")
    with pytest.raises(FilesUnusable, match="expired"):
        read_material(old.server, old.trust).prove(HOST)


def _key_of(path: Path) -> bytes:
    text = path.read_bytes()
    return text[text.index(b"-----BEGIN PRIVATE KEY") :]


def _with_key(path: Path, key: bytes) -> bytes:
    return path.read_bytes().replace(_key_of(path), key)


def test_what_cannot_be_used_is_told_by_file(keys: Keys, tmp_path: Path) -> None:
    """Half a file, another certificate's key, one in another form, one that ZooKeeper has no name for."""
    other = Keys(tmp_path / "other")
    key = serialization.load_pem_private_key(_key_of(keys.server), None)
    form, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = serialization.BestAvailableEncryption(b"secret")
    pkcs8, old_form = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(form, pkcs8, plain)
    text = keys.server.read_bytes()
    cases = [
        (b"", "no certificate"),
        (text[: len(text) // 4], "no certificate"),
        (text[:-200], "no key in it"),
        (_with_key(keys.server, _key_of(other.server)), "key values mismatch"),
        (_with_key(keys.server, key.private_bytes(form, old_form, plain)), "openssl pkcs8 -topk8"),  # type: ignore[union-attr]  # not one of Diffie and Hellman
        (_with_key(keys.server, key.private_bytes(form, pkcs8, secret)), "of the kind ENCRYPTED"),  # type: ignore[union-attr]  # likewise
        (_with_key(keys.server, edwards), "RSA, EC and DSA only"),
        (_with_key(keys.server, b"-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----"), "damaged"),
        (text.replace(b"\nM", b"\nN", 1), ""),
        (b"x" * (FILE_BYTES_MAX + 1), "more than"),
    ]
    broken = tmp_path / "broken.pem"
    for content, said in cases:
        broken.write_bytes(content)
        with pytest.raises(FilesUnusable, match=f"broken.pem.*{said}"):
            read_material(broken, keys.trust)
    for content in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"):
        broken.write_bytes(content)
        with pytest.raises(FilesUnusable, match=r"broken\.pem"):
            read_material(keys.server, broken)
    with pytest.raises(FilesUnusable, match=r"gone\.pem cannot be read: No such file"):
        read_material(tmp_path / "gone.pem", keys.trust)


def test_what_only_zookeeper_stumbles_over_is_mended(keys: Keys, tmp_path: Path) -> None:
    """Blanks at the ends of lines, other ends of lines, words between the blocks."""
    good = read_material(keys.server, keys.trust)
    untidy, trusted = tmp_path / "untidy.pem", tmp_path / "trusted.pem"
    untidy.write_bytes(b"Bag - Attributes\n" + keys.server.read_bytes().replace(b"\n", b" \t\r\n"))
    trusted.write_bytes(keys.trust.read_bytes().replace(b"\n", b"  \n"))
    assert read_material(untidy, trusted) == good
    for content in (good.content, *good.trusted.values()):
        assert not set(content.decode()) & set("\r\t")
        assert all(line == line.strip() for line in content.decode().splitlines())


def test_authorities_of_one_name_are_refused(keys: Keys, tmp_path: Path) -> None:
    """ZooKeeper would trust the last one only."""
    both, name = tmp_path / "both.pem", x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")])
    key = ec.generate_private_key(ec.SECP256R1())
    for number in (1, 2):
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), number, NOW, NOW + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        with both.open("ab") as file:
            file.write(made.public_bytes(serialization.Encoding.PEM))
        if number == 1:
            read_material(keys.server, both)
    with pytest.raises(FilesUnusable, match=r"both\.pem cannot be used: .*two that it is to trust now"):
        read_material(keys.server, both)


def test_copies_are_the_owners_alone(keys: Keys, files: ServerFiles) -> None:
    """Nothing is there at first; then what was installed, and nothing beside it."""
    assert files.installed() is None
    material = read_material(keys.server, keys.trust)
    files.install_trusted(material.trusted.values())
    files.install_certificate(material)
    assert files.installed() == material
    assert {path.name for path in files.certificate.parent.iterdir()} == {"server.pem", "trusted.pem"}
    assert stat.S_IMODE(files.certificate.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(files.certificate.stat().st_mode) == 0o600


def prepared(files: ServerFiles, keys: Keys, name: str = HOST) -> Material:
    """What the server reads after a start."""
    files.prepare(keys.server, keys.trust, name)
    found = files.installed()
    assert found is not None
    return found


def test_the_one_before_is_kept_until_the_new_one_serves(keys: Keys, files: ServerFiles) -> None:
    """It is put back once; what was put down then waits until it is put down again."""
    first = prepared(files, keys)
    keys.sign("server", HOST)
    second = prepared(files, keys)
    earlier = files.certificate.parent / "earlier.pem"
    assert stat.S_IMODE(earlier.stat().st_mode) == 0o600
    assert not files.is_refused(keys.server)
    assert files.take_back(keys.server, HOST, first.trusted)
    assert files.is_refused(keys.server)
    assert not files.take_back(keys.server, HOST, first.trusted)
    assert prepared(files, keys) == first
    keys.server.touch()
    assert not files.is_refused(keys.server)
    assert prepared(files, keys) == second
    files.confirm()
    assert not earlier.exists()


def test_one_that_is_no_good_any_more_is_not_put_back(keys: Keys, files: ServerFiles, tmp_path: Path) -> None:
    """There is none, it is for another name, or of an authority that has gone."""
    first = prepared(files, keys)
    assert not files.take_back(keys.server, HOST, first.trusted)
    keys.sign("server", HOST)
    second = prepared(files, keys)
    other = Keys(tmp_path / "other")
    assert not files.take_back(keys.server, "elsewhere", first.trusted)
    assert not files.take_back(keys.server, HOST, read_material(other.server, other.trust).trusted)
    assert files.installed() == second
    assert not files.is_refused(keys.server)


def test_of_two_renewals_the_one_that_served_is_kept(keys: Keys, files: ServerFiles) -> None:
    """The one between them was never tried."""
    first = prepared(files, keys)
    for _ in range(2):
        keys.sign("server", HOST)
        prepared(files, keys)
    assert files.take_back(keys.server, HOST, first.trusted)
    assert files.installed() == first


def test_a_start_takes_a_renewal_over(keys: Keys, files: ServerFiles) -> None:
    """Of the same authority: nobody else has to know."""
    first = prepared(files, keys)
    assert prepared(files, keys) == first
    keys.sign("server", HOST)
    assert prepared(files, keys) == read_material(keys.server, keys.trust) != first


def test_a_start_goes_on_with_what_there_was(
    keys: Keys, files: ServerFiles, caplog: pytest.LogCaptureFixture
) -> None:
    """What is broken, or for another name, is told and left alone; without anything before it is no start."""
    first = prepared(files, keys)
    keys.sign("server", "elsewhere")
    with caplog.at_level(logging.ERROR):
        assert prepared(files, keys) == first
        keys.server.write_text("half of a")
        assert prepared(files, keys) == first
    assert "Hostname mismatch" in caplog.text
    assert "is started with what it had before" in caplog.text
    files.certificate.unlink()
    with pytest.raises(FilesUnusable, match="no certificate in it"):
        files.prepare(keys.server, keys.trust, HOST)


def test_the_first_start_takes_what_only_others_refuse(tmp_path: Path, files: ServerFiles) -> None:
    """The host itself reaches the server without TLS: it is better there than not."""
    old = expired(tmp_path / "old")
    assert prepared(files, old) == read_material(old.server, old.trust)


def test_a_start_drops_no_authority(keys: Keys, files: ServerFiles, tmp_path: Path) -> None:
    """And shows nothing of one that it did not trust before: whether the others do is not known."""
    first = prepared(files, keys)
    new = Keys(tmp_path / "new")
    second = prepared(files, new)
    assert second.content == first.content
    assert second.trusted.keys() == {*first.trusted, fingerprint(new.trust.read_bytes())}
    assert prepared(files, new).content == new.server.read_bytes()
