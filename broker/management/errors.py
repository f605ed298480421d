"""What management refuses, and why.

::

    ManagementError
    ├── NotPermitted       forbidden: the user lacks the role `admin`
    ├── RequestMalformed   bad_request: it is no request, or an argument is wrong
    ├── NotFound           not_found: there is no such queue, connection, …
    ├── SelectorInvalid    invalid_selector: says where
    ├── NotPossible        not_possible: it contradicts itself, or the state of what it is about
    └── TooMany            too_many: a named limit is reached
"""

from __future__ import annotations

from broker.errors import (
    AccessDenied,
    BrokerError,
    ClientError,
    InvalidSelector,
    ResourceExhausted,
)


class ManagementError(BrokerError):
    """The request was refused; its text goes to whoever made it.

    Attributes:
        code: for programs.
    """

    code = "failed"


class NotPermitted(ManagementError):
    """The user may not do this."""

    code = "forbidden"


class RequestMalformed(ManagementError):
    """The request cannot be understood."""

    code = "bad_request"


class NotFound(ManagementError):
    """There is no such thing."""

    code = "not_found"


class SelectorInvalid(ManagementError):
    """The selector is none."""

    code = "invalid_selector"


class NotPossible(ManagementError):
    """It cannot be done as things are."""

    code = "not_possible"


class TooMany(ManagementError):
    """A named limit is reached."""

    code = "too_many"


def from_client_error(error: ClientError) -> ManagementError:
    """What the region refused, in the words of management."""
    if isinstance(error, InvalidSelector):
        return SelectorInvalid(str(error))
    if isinstance(error, ResourceExhausted):
        return TooMany(str(error))
    if isinstance(error, AccessDenied):
        return NotPermitted(str(error))
    return NotPossible(str(error))
