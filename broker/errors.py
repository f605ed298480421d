"""What a broker refuses, and why.

::

    BrokerError
    ├── ConfigurationInvalid
    ├── PortUnavailable
    ├── ProtocolUnavailable        what a protocol needs is not installed
    ├── CertificatesUnusable       files of certificates and keys
    ├── StoreIsAnother             the directory is not the store of this broker
    ├── TlsFailed                  one connection's encryption
    ├── ProxyHeaderInvalid         what a proxy says of its client
    ├── MessageInvalid             a journal body that cannot be read
    ├── CodecError                 bytes that are nothing in their encoding, or what has no bytes in it
    ├── SendBlocked                a send that has to wait for space; no answer yet
    └── ClientError                the answer to one client's request
        ├── InvalidDestination     javax.jms.InvalidDestinationException
        ├── InvalidSelector        javax.jms.InvalidSelectorException
        ├── InvalidClientId        javax.jms.InvalidClientIDException
        ├── AccessDenied           java.lang.SecurityException
        ├── ResourceExhausted      javax.jms.ResourceAllocationException
        │   └── SpaceLacking           the store, memory or temporary storage is used up
        ├── TransactionUnknown     javax.jms.TransactionRolledBackException
        ├── TransactionRefused     javax.jms.TransactionRolledBackException
        ├── BranchRefused          javax.transaction.xa.XAException
        └── RequestInvalid         javax.jms.JMSException
            └── IdUnknown              java.lang.IllegalStateException
"""


class BrokerError(Exception):
    """The broker could not do what was asked."""


class ConfigurationInvalid(BrokerError):
    """The broker's configuration is not usable."""


class PortUnavailable(BrokerError):
    """The port a connector shall listen on is taken."""


class ProtocolUnavailable(BrokerError):
    """What a connector's protocol needs is not installed."""


class CertificatesUnusable(BrokerError):
    """The certificates of a connector cannot be used."""


class StoreIsAnother(BrokerError):
    """The directory does not hold the store of this broker."""


class TlsFailed(BrokerError):
    """A connection with TLS cannot go on; the text says why."""


class ProxyHeaderInvalid(BrokerError):
    """A connection does not begin with a PROXY header that can be read; the text says why."""


class MessageInvalid(BrokerError):
    """A stored message cannot be read."""


class CodecError(BrokerError):
    """These bytes cannot be read in their encoding, or this cannot be written in it."""


class SendBlocked(BrokerError):
    """There is no space for the message; whoever has it keeps it with `RegionConnection.block`."""


class ClientError(BrokerError):
    """A client's request was refused; its text goes to the client."""

    jms_class = "javax.jms.JMSException"


class InvalidDestination(ClientError):
    """The destination cannot be used."""

    jms_class = "javax.jms.InvalidDestinationException"


class InvalidSelector(ClientError):
    """The selector cannot be used."""

    jms_class = "javax.jms.InvalidSelectorException"


class InvalidClientId(ClientError):
    """The client id is missing or in use."""

    jms_class = "javax.jms.InvalidClientIDException"


class AccessDenied(ClientError):
    """User name or password is invalid."""

    jms_class = "java.lang.SecurityException"


class ResourceExhausted(ClientError):
    """A named limit of this broker is reached."""

    jms_class = "javax.jms.ResourceAllocationException"


class SpaceLacking(ResourceExhausted):
    """There is no space for the message."""


class TransactionUnknown(ClientError):
    """The transaction has not been started, or is finished."""

    jms_class = "javax.jms.TransactionRolledBackException"


class TransactionRefused(ClientError):
    """A send of the transaction was refused, so that none of it counts."""

    jms_class = "javax.jms.TransactionRolledBackException"


class BranchRefused(ClientError):
    """A step of a distributed transaction was refused; its manager goes by the code.

    The code ends the text, where ActiveMQ's clients look for it: numbers do not travel with exceptions.

    Attributes:
        code: see `broker.xa.XaCode`.
    """

    jms_class = "javax.transaction.xa.XAException"

    def __init__(self, text: str, code: int) -> None:
        super().__init__(f"{text} xaErrorCode:{code:d}")
        self.code = code


class RequestInvalid(ClientError):
    """The request makes no sense in the connection's present state."""


class IdUnknown(RequestInvalid):
    """The request names a connection, session, consumer or producer that this connection does not have."""

    jms_class = "java.lang.IllegalStateException"
