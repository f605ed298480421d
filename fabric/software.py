"""Which version of this package runs."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

DISTRIBUTION: Final = "fabric-mq"


def installed_version() -> str:
    """The version of the package that is installed now; `unknown` if it runs from bare sources."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


SOFTWARE: Final = installed_version()
"""The version whose code this process has loaded: what is installed later does not change it."""
