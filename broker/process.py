"""What a process should set before it runs a broker."""

from __future__ import annotations

import gc
import resource
from typing import Final

COLLECT_AFTER: Final = (50_000, 20, 100)
"""Allocations until the cyclic garbage collector looks at the youngest, and passes until at older ones.

Messages are not cyclic: reference counting frees them. With the interpreter's default of 700 the collector
walks through all that is queued again and again; a pass over a million messages takes about a second.
"""


def prepare_process() -> None:
    """Admit as many connections as the system allows, and keep the garbage collector out of the way.

    To be called by mains, once.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(*COLLECT_AFTER)
