"""The registry's page: the tree of znodes, one of them, the servers and the sessions."""

from __future__ import annotations

import json
from typing import Final

from fabric.ensemble_health import look_at
from fabric.web.api.registry import (
    Znode,
    ZnodeQuery,
    branch_of,
    moment,
    read_sessions,
    read_znode,
    znode_path,
)
from fabric.web.html import page
from fabric.web.routes import Answer, Call, Route


async def registry(call: Call) -> Answer:
    """A znode with the way to it; its fragment is the znode alone."""
    console, path = call.console, znode_path(call.query.path)
    node = await console.blocking(read_znode, console.session, path)
    if call.is_fragment:
        return page(call, "registry_znode.html", node=node, shown=pretty(node), moment=moment)
    branch = await console.blocking(branch_of, console.session, path)
    return page(
        call,
        "registry.html",
        tab="registry",
        node=node,
        shown=pretty(node),
        branch=dict(branch),
        moment=moment,
    )


async def branch(call: Call) -> Answer:
    """The children of a znode in the tree, when it is opened."""
    path = znode_path(call.query.path)
    names = await call.console.blocking(call.console.session.children, path)
    return page(call, "registry_branch.html", path=path, branch={path: names}, node=None)


async def servers(call: Call) -> Answer:
    """The ensemble's servers and the containers' sessions."""
    console = call.console
    found = await console.blocking(look_at, console.session.url, console.session.channel)
    sessions = await console.blocking(read_sessions, console.session)
    template = "registry_servers_list.html" if call.is_fragment else "registry_servers.html"
    return page(
        call,
        template,
        tab="registry",
        servers=found,
        sessions=sessions,
        moment=moment,
        url=console.session.url,
    )


def pretty(node: Znode) -> str:
    """A znode's data as people read it: JSON on several lines."""
    if node.encoding == "text" and node.data[:1] in ("{", "["):
        try:
            return json.dumps(json.loads(node.data), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return node.data


ROUTES: Final = (
    Route("GET", "/registry", registry, "The registry's znodes.", query=ZnodeQuery),
    Route("GET", "/registry/branch", branch, "A branch of the registry's tree.", query=ZnodeQuery),
    Route("GET", "/registry/servers", servers, "The registry's servers and sessions."),
)
