"""What can go wrong in a fabric.

FabricError
├── NoFabric               there is no fabric in this FABRIC_HOME
├── HomeUnusable           FABRIC_HOME cannot be read or written
├── InvalidName            a name breaks the rules
└── ContainerNotStarted    a container process ended before it was there
"""

from pathlib import Path


class FabricError(Exception):
    """An operation on the fabric failed.

    Attributes:
        what: what failed, a sentence; the command line prints it.
        do_next: what the user can do about it, or nothing.
    """

    def __init__(self, what: str, do_next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do_next = do_next


class NoFabric(FabricError):
    """There is no fabric here."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"There is no fabric in {home}.", "Create one with: fabric create")


class HomeUnusable(FabricError):
    """FABRIC_HOME cannot be used."""


class InvalidName(FabricError):
    """A name breaks the rules."""


class ContainerNotStarted(FabricError):
    """The container process ended before it registered."""
