"""HTML: templates with what every page shows."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from fabric.errors import FabricError
from fabric.web.errors import code_of
from fabric.web.formats import FILTERS
from fabric.web.roles import Role
from fabric.web.routes import Answer, Call, Identity

if TYPE_CHECKING:
    from fabric.web.console import Console

NAVIGATION: Final = (
    ("containers", "/containers", "Containers"),
    ("mq", "/mq", "MQ"),
    ("profiles", "/profiles", "Profiles"),
    ("registry", "/registry", "Registry"),
    ("health", "/health", "Health"),
)
"""Key, address and label of what stands at the top of each page."""


@cache
def templates() -> Environment:
    """The package's templates. Everything that is put into them is escaped."""
    environment = Environment(
        loader=PackageLoader("fabric.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["release"] = metadata.version("fabric-mq")
    environment.globals["navigation"] = NAVIGATION
    environment.filters.update(FILTERS, segment=segment)
    return environment


def segment(name: str) -> str:
    """A name as one segment of an address, whatever it consists of."""
    return quote(name, safe="")


def page(call: Call, template: str, *, tab: str = "", **values: Any) -> Answer:  # noqa: ANN401 - a template's
    """A page, or a part of one.

    Args:
        call: The request.
        template: Its file below `templates/`.
        tab: Key in `NAVIGATION` of where it belongs.
        values: What the template shows.
    """
    text = templates().get_template(template).render(_common(call.console, call.identity, tab) | values)
    return Answer(text.encode())


def error_page(
    console: Console, identity: Identity | None, error: Exception, status: int, *, is_fragment: bool
) -> bytes:
    """The page, or the part of one, that shows an error."""
    what = error.what if isinstance(error, FabricError) else str(error)
    do_next = error.do_next if isinstance(error, FabricError) else ""
    template = "error_fragment.html" if is_fragment else "error.html"
    values = _common(console, identity, "") | {
        "what": what,
        "do_next": do_next,
        "status": status,
        "code": code_of(error),
    }
    return templates().get_template(template).render(values).encode()


def _common(console: Console, identity: Identity | None, tab: str) -> dict[str, Any]:
    role = 0 if identity is None else identity.role
    if identity is not None:
        console.health.look()
    return {
        "health": console.health,
        "identity": identity,
        "tab": tab,
        "fabric_name": console.container,
        "may_operate": role >= Role.OPERATOR,
        "may_administer": role >= Role.ADMIN,
    }
