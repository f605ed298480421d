"""The election of a master, per broker id within a group: what a broker is, and what follows from what.

Pure: no ZooKeeper, no time. `election` feeds it and carries out what it says.

::

                     start                    elected                     serving
       OFFLINE ───────────────▶ SLAVE ──────────────────▶ TAKING_OVER ──────────────▶ MASTER
          ▲                      ▲ ▲                        │     │                    │  │
          │                      │ └────── failed, stopped ─┘     │ outvoted           │  │
          │                      │                                ▼          outvoted  │  │
          │                      ├──────── stopped, failed ─ STEPPING_DOWN ◀───────────┘  │
          │                      └─────────────────────────────── failed, stopped ────────┘
          └── stop, from everywhere

Source: fabric8 ``ClusteredBrokerDeployment``, without its stopping of the master when ZooKeeper is out of
reach: what a master may still acknowledge is decided by the journal's fence.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Final

from registry.members import MemberRecord, active_members


class Role(Enum):
    """What a broker is in its group."""

    OFFLINE = "offline"
    SLAVE = "slave"
    TAKING_OVER = "taking over"
    MASTER = "master"
    STEPPING_DOWN = "stepping down"


class Input(Enum):
    """What happens to it."""

    START = "start"
    ELECTED = "elected"
    """The first active member with our id is ours."""
    OUTVOTED = "outvoted"
    """Another active member with our id is before ours."""
    SERVING = "serving"
    """The broker has taken over, or serves at other addresses now."""
    FAILED = "failed"
    """The broker could not take over, or was fenced."""
    STOPPED = "stopped"
    """The broker has stopped serving."""
    STOP = "stop"


class Output(Enum):
    """What is to be done then."""

    JOIN = "join"
    TAKE_OVER = "take over"
    PUBLISH = "publish"
    WITHDRAW = "withdraw"
    """Publish no services, so that clients look elsewhere."""
    STEP_DOWN = "step down"
    REJOIN = "rejoin"
    """Join again at the end of the group, without services."""
    LEAVE = "leave"


_AS_SLAVE = (Role.SLAVE, (Output.REJOIN,))
_OFFLINE = (Role.OFFLINE, (Output.LEAVE,))
_STEP_DOWN = (Role.STEPPING_DOWN, (Output.WITHDRAW, Output.STEP_DOWN))

TRANSITIONS: Final[Mapping[tuple[Role, Input], tuple[Role, tuple[Output, ...]]]] = {
    (Role.OFFLINE, Input.START): (Role.SLAVE, (Output.JOIN,)),
    (Role.SLAVE, Input.ELECTED): (Role.TAKING_OVER, (Output.TAKE_OVER,)),
    (Role.SLAVE, Input.STOP): _OFFLINE,
    (Role.TAKING_OVER, Input.SERVING): (Role.MASTER, (Output.PUBLISH,)),
    (Role.TAKING_OVER, Input.OUTVOTED): _STEP_DOWN,
    (Role.TAKING_OVER, Input.FAILED): _AS_SLAVE,
    (Role.TAKING_OVER, Input.STOPPED): _AS_SLAVE,
    (Role.TAKING_OVER, Input.STOP): _OFFLINE,
    (Role.MASTER, Input.SERVING): (Role.MASTER, (Output.PUBLISH,)),
    (Role.MASTER, Input.OUTVOTED): _STEP_DOWN,
    (Role.MASTER, Input.FAILED): _AS_SLAVE,
    (Role.MASTER, Input.STOPPED): _AS_SLAVE,
    (Role.MASTER, Input.STOP): _OFFLINE,
    (Role.STEPPING_DOWN, Input.STOPPED): _AS_SLAVE,
    (Role.STEPPING_DOWN, Input.FAILED): _AS_SLAVE,
    (Role.STEPPING_DOWN, Input.STOP): _OFFLINE,
}

IGNORED: Final[frozenset[tuple[Role, Input]]] = frozenset(
    # Already so.
    [(role, Input.START) for role in Role if role is not Role.OFFLINE]
    + [(role, Input.ELECTED) for role in (Role.TAKING_OVER, Role.MASTER)]
    + [(role, Input.OUTVOTED) for role in (Role.SLAVE, Role.STEPPING_DOWN)]
    + [(Role.OFFLINE, Input.STOP)]
    # First finish stepping down; the vote is looked at again after that.
    + [(Role.STEPPING_DOWN, Input.ELECTED)]
    # The broker's answers cross with our decisions.
    + [(role, kind) for role in (Role.OFFLINE, Role.SLAVE) for kind in (Input.FAILED, Input.STOPPED)]
    + [(role, Input.SERVING) for role in (Role.OFFLINE, Role.SLAVE, Role.STEPPING_DOWN)]
    # A vote that was under way when we left.
    + [(Role.OFFLINE, kind) for kind in (Input.ELECTED, Input.OUTVOTED)]
)


def advance(role: Role, kind: Input) -> tuple[Role, tuple[Output, ...]]:
    """Return what `role` becomes through an input, and what is to be done. The table covers every pair."""
    if (role, kind) in IGNORED:
        return role, ()
    return TRANSITIONS[role, kind]


class Standing(Enum):
    """Where a member stands among those with its id."""

    FIRST = "first"
    BEHIND = "behind"
    UNKNOWN = "unknown"


def standing(
    members: Mapping[str, MemberRecord], unread: Collection[str], own_name: str | None, broker_id: str
) -> Standing:
    """Find out where our member stands.

    Args:
        members: Those that have been read, by the znode's name.
        unread: Names of those that have not been read yet, or not since the connection came back.
        own_name: Our znode's name, None while we have none.
        broker_id: Our broker's id.

    Returns:
        BEHIND as soon as somebody is known to be ahead of us, FIRST only when nobody can be.
    """
    own = members.get(own_name) if own_name is not None else None
    if own_name is None or own is None or not own.ready:
        return Standing.UNKNOWN
    candidates = [name for name, record in active_members(members).items() if record.id == broker_id]
    if candidates[:1] != [own_name]:
        # Ours may be missing from the candidates: then a newer process of our container has joined.
        return Standing.BEHIND
    if any(name < own_name for name in unread) or own_name in unread:
        return Standing.UNKNOWN
    return Standing.FIRST
