"""What can go wrong in a fabric.

FabricError
├── NoFabric               there is no fabric in this FABRIC_HOME
├── HomeUnusable           FABRIC_HOME cannot be read or written
└── ContainerNotStarted    a container process ended before it was there

The first sentence of an error is what the command line prints; the second says what to do.
"""


class FabricError(Exception):
    """An operation on the fabric failed."""


class NoFabric(FabricError):
    """There is no fabric here."""


class HomeUnusable(FabricError):
    """FABRIC_HOME cannot be used."""


class ContainerNotStarted(FabricError):
    """The container process ended before it registered."""
