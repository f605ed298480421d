"""Files with secrets: theirs to read who runs the fabric, and nobody else's."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fabric.doctor.model import Check, Verdicts, ok, problem, warning

if TYPE_CHECKING:
    from fabric.doctor.scene import Scene

NOBODY_ELSE: Final = 0o077
LISTED_MAX: Final = 20


def secret_files(scene: Scene) -> Verdicts:
    """Permissions of the home and of all files in it that hold secrets."""
    home = scene.home
    if not home.path.exists():
        return
    wrong = [path for path in _secrets(scene) if path.stat().st_mode & NOBODY_ELSE]
    for path in wrong[:LISTED_MAX]:
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = "700" if path.is_dir() else "600"
        yield problem(f"{path} can be read or written by others (mode {mode:o}).", f"chmod {wanted} {path}")
    if len(wrong) > LISTED_MAX:
        yield problem(f"So can {len(wrong) - LISTED_MAX} more.", f"chmod -R go-rwx {home.path}")
    if not wrong:
        yield ok(f"Nobody else can read the secrets below {home.path}.")


def _secrets(scene: Scene) -> Iterator[Path]:
    home = scene.home
    yield home.path
    for pattern in ("fabric.json", "master.key", "containers/*", "containers/*/*.json", "zookeeper/data"):
        yield from sorted(home.path.glob(pattern))
    public = home.authority_certificate
    yield from (path for path in sorted(home.certificates.glob("**/*.pem")) if path != public)


def owners(scene: Scene) -> Verdicts:
    """Whether the home belongs to who runs the command."""
    home = scene.home.path
    if not home.exists():
        yield ok(f"{home} does not exist yet.")
        return
    strangers = [
        path for path in [home, *sorted(home.iterdir())] if path.lstat().st_uid != scene.machine.user
    ]
    for path in strangers[:LISTED_MAX]:
        yield warning(
            f"{path} belongs to user {path.lstat().st_uid}, and this command runs as {scene.machine.user}.",
            "Run the fabric, and this, as one user: with sudo or su, files of two users are mixed.",
        )
    if not strangers:
        yield ok(f"{home} belongs to the user who runs this.")


CHECKS: Final = (
    Check("file.secrets", "permissions of files with secrets", secret_files),
    Check("file.owner", "whose the home is", owners),
)
