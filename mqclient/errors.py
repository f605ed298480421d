"""What can go wrong in a client.

::

    ClientError
    ├── InvalidUrl                the broker URL, or one of its options
    ├── TlsUnusable               a trust store or key store
    ├── IllegalState              a call that does not fit (closed, not transacted, …)
    ├── MessageFormatError        a body or property that cannot be sent or read
    ├── ConnectionFailed          no broker could be reached, or the connection is gone for good
    │   ├── ConnectionClosed      closed by this program
    │   └── RegistryUnreachable   discovery could not read the registry
    ├── TimedOut                  an answer did not come in time
    │   └── FailoverTimeout       no broker within the option ``timeout``
    ├── TransactionRolledBack     the transaction is gone; its work must be done again
    └── BrokerRefused             the broker answered with an exception
        ├── AuthenticationFailed  wrong user or password
        ├── NotAuthorized         the user may not do this
        ├── InvalidClientId       the client id is in use or missing
        ├── InvalidDestination
        ├── InvalidSelector
        └── ResourceExhausted     the broker has no room (memory, store, connections)

The first sentence of each docstring is what the command line prints before the particulars.
"""

from __future__ import annotations

from broker.openwire.throwable import Throwable


class ClientError(Exception):
    """The client failed."""


class InvalidUrl(ClientError):
    """The broker URL is not valid."""


class TlsUnusable(ClientError):
    """The files for TLS cannot be used."""


class IllegalState(ClientError):
    """This call is not allowed now."""


class MessageFormatError(ClientError):
    """The message cannot be sent or read."""


class ConnectionFailed(ClientError):
    """No broker could be reached."""


class ConnectionClosed(ConnectionFailed):
    """The connection is closed."""


class RegistryUnreachable(ConnectionFailed):
    """The registry could not be read."""


class TimedOut(ClientError):
    """The broker did not answer in time."""


class FailoverTimeout(TimedOut):
    """No broker appeared in time."""


class TransactionRolledBack(ClientError):
    """The transaction was rolled back."""


class BrokerRefused(ClientError):
    """The broker refused.

    Attributes:
        class_name: the Java class the broker named, such as ``javax.jms.JMSException``; "" if none.
    """

    def __init__(self, message: str, class_name: str = "") -> None:
        super().__init__(message)
        self.class_name = class_name


class AuthenticationFailed(BrokerRefused):
    """The user name or password is wrong."""


class NotAuthorized(BrokerRefused):
    """The user is not allowed to do this."""


class InvalidClientId(BrokerRefused):
    """The client id is not usable."""


class InvalidDestination(BrokerRefused):
    """The destination is not usable."""


class InvalidSelector(BrokerRefused):
    """The selector is not valid."""


class ResourceExhausted(BrokerRefused):
    """The broker has no room."""


_BY_CLASS_NAME: dict[str, type[BrokerRefused]] = {
    "SecurityException": NotAuthorized,
    "JMSSecurityException": NotAuthorized,
    "InvalidClientIDException": InvalidClientId,
    "InvalidDestinationException": InvalidDestination,
    "InvalidSelectorException": InvalidSelector,
    "ResourceAllocationException": ResourceExhausted,
}


def from_throwable(throwable: Throwable | None) -> ClientError:
    """The error for an exception the broker sent; the class is compared as text, nothing is made from it."""
    if throwable is None:
        return BrokerRefused("the broker gave no reason")
    class_name = throwable.class_name or ""
    message = throwable.message or class_name or "the broker gave no reason"
    simple_name = class_name.rpartition(".")[2]
    if simple_name == "TransactionRolledBackException":
        return TransactionRolledBack(message)
    return _BY_CLASS_NAME.get(simple_name, BrokerRefused)(message, class_name)
