"""Real servers that know users: OpenLDAP's slapd, and a certified OpenID provider for Node.js."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from support.certificates import Keys
from support.fabric import FabricForTests
from support.javascript import PROGRAMS
from support.waiting import wait_until

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
BASE = "dc=example,dc=org"
READER = f"cn=reader,{BASE}"
CLIENT_SECRET = "a secret of the client"

_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {keys}/ca.pem
TLSCertificateFile {keys}/server.pem
TLSCertificateKeyFile {keys}/server.pem
database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
directory {folder}/data
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=example,dc=org" read by self read by users read by * none
"""

_CONTENT = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=reader,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reading

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people
{people}
dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=operations,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: operations
member: uid=ann,ou=people,dc=example,dc=org
member: uid=admin,ou=people,dc=example,dc=org

dn: cn=clerks,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: clerks
member: uid=clerk,ou=people,dc=example,dc=org
"""

_PERSON = """
dn: uid={0},ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: {0}
cn: {0}
sn: {0}
userPassword: {0}-in-ldap
"""


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


class Slapd:
    """OpenLDAP with the people ann, clerk and admin; whose password is NAME-in-ldap."""

    def __init__(self, folder: Path) -> None:
        assert SLAPD, "slapd is missing: ./dev setup installs it"
        (folder / "data").mkdir(parents=True)
        self.keys = Keys(folder)
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.tls_url = f"ldaps://127.0.0.1:{self.tls_port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = folder / "slapd.conf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder, keys=folder))
        content = folder / "content.ldif"
        people = "".join(_PERSON.format(name) for name in ("ann", "clerk", "admin"))
        content.write_text(_CONTENT.format(people=people))
        subprocess.run(
            [SLAPD, "-T", "add", "-f", self._configuration, "-l", content],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def start(self) -> None:
        """Listen."""
        assert SLAPD
        with (self._folder / "slapd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SLAPD, "-d", "0", "-f", self._configuration, "-h", f"{self.url} {self.tls_url}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: listens(self.port) and listens(self.tls_port), 60, self._log)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def _log(self) -> str:
        return (self._folder / "slapd.log").read_text("utf-8", "replace")

    def properties(self, **more: str) -> dict[str, str]:
        """A realm that searches for its users; groups `operations` and `clerks`."""
        return {
            "url": self.url,
            "bindDn": READER,
            "bindPassword": "reading",
            "userBase": f"ou=people,{BASE}",
            "groupBase": f"ou=groups,{BASE}",
            "role.operations": "viewer, operator",
            "role.clerks": "clerks",
            **more,
        }


@contextlib.contextmanager
def slapd(folder: Path) -> Iterator[Slapd]:
    """A running one."""
    server = Slapd(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class OpenIdProvider:
    """The provider, with one key at a time. Its clients ann, clerk and admin get tokens with their names.

    Args:
        folder: for its keys and its log.
        host: its name, of this host; `localhost` is another site than `127.0.0.1` for browsers.
        callback: where they come back to that log in by its pages; the password does not matter there.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", callback: str = "") -> None:
        self.port = free_port()
        self.host = host
        self.callback = callback
        self.issuer = f"http://{host}:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.key: rsa.RSAPrivateKey
        self.key_id = ""

    def start(self, key_id: str) -> None:
        """Listen, and sign with a new key."""
        self.stop()
        self.key = rsa.generate_private_key(65537, 2048)
        self.key_id = key_id
        record: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.key, as_dict=True)
        del record["key_ops"]  # of a library that only signs; the provider would not use it for more
        path = self._folder / f"{key_id}.json"
        path.write_text(json.dumps({**record, "kid": key_id, "use": "sig", "alg": "RS256"}))
        with (self._folder / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["node", PROGRAMS / "openid.js", str(self.port), str(path), self.host, self.callback],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: listens(self.port), 60, (self._folder / "provider.log").read_text)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def token(self, client: str, audience: str = "fabric") -> str:
        """A token for one of its clients."""
        answer = requests.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": f"urn:x/{audience}"},
            auth=(client, CLIENT_SECRET),
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        text: str = answer.json()["access_token"]
        return text

    def log_in(self, location: str, user: str) -> str:
        """Somebody goes through its pages; returns where he is sent back to."""
        with requests.Session() as browser:
            page = browser.get(location, timeout=30)
            for form in ({"prompt": "login", "login": user, "password": "any"}, {"prompt": "consent"}):
                action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
                assert action is not None, page.text
                page = browser.post(action[1], data=form, timeout=30, allow_redirects=False)
                while page.is_redirect:
                    location = page.headers["Location"]
                    if location.startswith(self.callback):
                        return location
                    page = browser.get(urljoin(page.url, location), timeout=30, allow_redirects=False)
        raise AssertionError(page.text)

    def properties(self, **more: str) -> dict[str, str]:
        """A realm that believes it."""
        return {"issuer": self.issuer, "audience": "fabric", "role.ops": "viewer, operator", **more}


@contextlib.contextmanager
def openid_provider(
    fabric: FabricForTests, folder: Path, host: str = "127.0.0.1"
) -> Iterator[OpenIdProvider]:
    """A provider by whose pages people log in to a fabric's console; its client's secret is encrypted."""
    url = fabric.console_url.rstrip("/")
    provider = OpenIdProvider(folder, host, f"{url}/login/openid/openid/callback")
    provider.start("first")
    try:
        secret = fabric.execute("encrypt-message", CLIENT_SECRET).stdout.strip()
        realm = provider.properties(clientId="console", clientSecret=secret, title="Example")
        values = {"realms": "openid", **{f"openid.{key}": value for key, value in realm.items()}}
        options = [
            word
            for key, value in values.items()
            for word in ("--pid", f"io.fabric8.authentication/{key}={value}")
        ]
        fabric.run("profile-edit", *options, "default")
        wait_until(
            lambda: "Log in with Example" in requests.get(f"{url}/login", timeout=30).text, 60, fabric.logs
        )
        yield provider
    finally:
        provider.stop()
