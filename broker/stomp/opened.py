"""What the frames of a client that has logged in mean for the region.

Nothing here is done per header that nobody reads: a SEND frame's headers, but for the receipt and the
transaction, are nearly always those of the frame before, and what they mean is remembered.

Source: ActiveMQ's `ProtocolConverter`, for what clients expect.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from broker.errors import ClientError, SendBlocked
from broker.stomp.destinations import Destinations
from broker.stomp.errors import FrameInvalid
from broker.stomp.headers import Version, escaped, read_headers, unescaped
from broker.stomp.limits import REMEMBERED_HEAD_BYTES_MAX, REMEMBERED_HEADS_MAX
from broker.stomp.message_writer import adapted, kept_form
from broker.stomp.subscriptions import REF_DIGITS_MAX, Subscription, Subscriptions, subscription_name
from broker.stomp.translation import WIRE_FORMAT, SendTemplate, message_of, template_of

if TYPE_CHECKING:
    from broker.message import Message
    from broker.region.connection import RegionConnection
    from broker.stomp.connection import StompConnection
    from broker.stomp.server import StompServer

_RECEIPT: Final = b"\nreceipt:"
_TRANSACTION: Final = b"\ntransaction:"
_ID_AT: Final = len(b"message-id:")
_ACK_ID: Final = b"\nid:"
_END: Final = b"\0\n"
_RECEIPT_FRAME: Final = b"RECEIPT\nreceipt-id:%b\n\n\0\n"


class OpenedConnection:
    """One client's subscriptions and transactions over its connection in the region.

    Attributes:
        delivered: what was sent to subscriptions in the mode `auto` and is to be acknowledged: the last
            message's number by subscription.
        is_gathering: ACKs have come that the journal has not heard of.

    Args:
        server: tells the client what went wrong, and keeps receipts until they may leave.
        connection: of the region.
        wire: what is sent.
    """

    def __init__(self, server: StompServer, connection: RegionConnection, wire: StompConnection) -> None:
        self._server = server
        self._connection = connection
        self._wire = wire
        self._send = wire.send
        self._version = version = wire.version
        self.delivered: dict[Hashable, int] = {}
        self.subscriptions = Subscriptions(connection, version)
        self._destinations = Destinations(connection)
        self._transactions: dict[str, str] = {}
        self._transaction_numbers = itertools.count(1)
        self._message_numbers = itertools.count(1)
        self._id_prefix = escaped(f"{connection.connection_id}:-1:1:").encode()
        self._templates: tuple[dict[bytes, SendTemplate], dict[bytes, SendTemplate]] = {}, {}
        self._parting: bytes | None = None
        self.is_gathering = False

    # ---- messages in

    def send(self, head: bytes, body: bytes, has_length: bool) -> None:
        """Takes a message.

        Raises:
            ClientError: it cannot be taken.
        """
        if b"\r" in head and self._version is not Version.V1_1:
            head = (head + b"\n").replace(b"\r\n", b"\n")[:-1]
        receipt = transaction = None
        if (at := head.find(_RECEIPT)) >= 0:
            receipt, head = _cut(head, at, 9)
            if self._version is Version.V1_0:
                receipt = receipt.strip()
        if (at := head.find(_TRANSACTION)) >= 0:
            named, head = _cut(head, at, 13)
            transaction = self._transaction(self._text(named))
        template = self._templates[has_length].get(head) or self._template(head, has_length)
        message = message_of(
            template,
            b"%b%d" % (self._id_prefix, next(self._message_numbers)),
            self._connection.region.now_ms,
            body,
            has_length,
        )
        try:
            batch = self._connection.send(message, transaction)
        except SendBlocked:
            self._block(message, transaction, b"" if receipt is None else _RECEIPT_FRAME % receipt)
        else:
            if receipt is not None:
                self._server.answer(batch, _RECEIPT_FRAME % receipt)

    def _block(self, message: Message, transaction: str | None, receipt: bytes) -> None:
        """Keeps a message until there is space for it."""
        self._connection.block(
            message,
            lambda: self._connection.send(message, transaction),
            lambda outcome: self._go_on(outcome, receipt),
            transaction,
        )

    def _template(self, head: bytes, has_length: bool) -> SendTemplate:
        """What headers mean that have not come of late."""
        template = template_of(read_headers(head, self._version), has_length, self._destinations.resolve)
        if len(head) <= REMEMBERED_HEAD_BYTES_MAX:
            templates = self._templates[has_length]
            if len(templates) >= REMEMBERED_HEADS_MAX:
                templates.clear()
            templates[head] = template
        return template

    def _go_on(self, outcome: int | ClientError, receipt: bytes) -> None:
        """A send or commit that had to wait for space was done, or refused."""
        if isinstance(outcome, ClientError):
            self._server.fail(str(outcome))
            return
        if receipt:
            self._server.answer(outcome, receipt)
        if self._parting is not None:
            self._leave(self._parting)

    # ---- messages out

    def dispatch(self, key: Hashable, message: Message, ref: int, redelivery_counter: int) -> None:
        """Sends a message to a subscription.

        Raises:
            MessageInvalid: it is damaged.
        """
        subscription = self.subscriptions.by_key[key]
        wire = message.wire
        if wire is None or message.wire_format != WIRE_FORMAT:
            wire = kept_form(message)
        if subscription.refs is not None:
            subscription.note(wire[_ID_AT : wire.find(b"\n")], ref)
        elif not subscription.needs_ack_id:
            self.delivered[key] = ref
        if self._version is not Version.V1_2 or self._destinations:
            wire = self._adapted(wire)
        send = self._send
        if subscription.needs_ack_id:
            send(b"%b%d\n" % (subscription.head, ref))
        else:
            send(subscription.head)
        if redelivery_counter:
            send(b"redelivered:true\n")
        send(wire)
        send(_END)

    def _adapted(self, wire: bytes) -> bytes:
        """A message in the connection's version, and with its names of its temporary destinations."""
        differs = self._version is Version.V1_0 or (self._version is Version.V1_1 and b"\\r" in wire)
        if not differs and not (self._destinations and b":/remote-temp-" in wire):
            return wire
        return adapted(wire, self._version, self._destinations.own_name)

    def dispatch_end(self, key: Hashable) -> None:
        """Tells a browser that it has seen all."""
        subscription = self.subscriptions.by_key[key]
        headers = {} if subscription.id is None else {"subscription": subscription.id}
        headers |= {
            "browser": "end",
            "destination": self._destinations.name_of(subscription.destination),
            "message-id": "0",
        }
        self._wire.send_frame("MESSAGE", headers)

    def acknowledge_delivered(self) -> None:
        """What subscriptions in the mode `auto` were sent is done with."""
        delivered, self.delivered = self.delivered, {}
        for key, ref in delivered.items():
            subscription = self.subscriptions.by_key.get(key)
            if subscription is not None:
                self.subscriptions.acknowledge(subscription, ref)
        self._connection.finish_gathered()

    # ---- other frames

    def acknowledge(self, head: bytes) -> None:
        """Takes an ACK; `finish` has to follow before any other frame, and at the end of what has arrived.

        Raises:
            ClientError: there is nothing to acknowledge.
        """
        if self._version is Version.V1_2 and head.startswith(_ACK_ID) and head.find(b"\n", 1) < 0:
            number, _, ref = head[len(_ACK_ID) :].partition(b"-")
            subscription = self.subscriptions.by_number.get(number)
            if subscription is not None and ref.isdigit() and len(ref) <= REF_DIGITS_MAX:
                self.is_gathering = True
                if self._connection.gather(subscription.key, int(ref), cumulative=subscription.is_cumulative):
                    return
        self.carry_out("ACK", head)

    def finish(self) -> int:
        """The journal hears of what was acknowledged; returns the batch."""
        self.is_gathering = False
        return self._connection.finish_gathered()

    def carry_out(self, command: str, head: bytes) -> None:
        """Does what a frame other than SEND asks for.

        Raises:
            ClientError: it cannot be done.
        """
        headers = read_headers(head, self._version)
        batch = _COMMANDS[command](self, headers)
        receipt = headers.get("receipt")
        if batch is not None and receipt is not None:
            self._server.answer(batch, self._receipt(receipt))

    def _receipt(self, receipt: str | None) -> bytes:
        """A RECEIPT frame; nothing if none is asked for."""
        if receipt is None:
            return b""
        text = receipt if self._version is Version.V1_0 else escaped(receipt, self._version)
        return f"RECEIPT\nreceipt-id:{text}\n\n\0\n".encode()

    def _text(self, raw: bytes) -> str:
        """The value of a header that was cut out."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise FrameInvalid("The headers are not valid UTF-8.") from None
        return text.strip() if self._version is Version.V1_0 else unescaped(text, self._version)

    def _connect(self, headers: dict[str, str]) -> int:
        del headers
        raise FrameInvalid("Already connected.")

    def _subscribe(self, headers: dict[str, str]) -> int:
        id_ = headers.get("id")
        if id_ is None and self._version is not Version.V1_0:
            raise FrameInvalid("SUBSCRIBE received without a subscription id!")
        name = headers.get("destination")
        if name is None:
            raise FrameInvalid("SUBSCRIBE received without a Destination specified!")
        return self.subscriptions.add(id_, self._destinations.resolve(name), headers)

    def _unsubscribe(self, headers: dict[str, str]) -> int:
        id_, name = headers.get("id"), headers.get("destination")
        durable = subscription_name(headers)
        if durable is not None:
            self.subscriptions.close_durable(durable)
            return self._connection.remove_subscription(durable)
        if id_ is None and (name is None or self._version is not Version.V1_0):
            raise FrameInvalid(
                "Must specify the subscriptionId or the destination you are unsubscribing from"
            )
        destination = None if name is None or id_ is not None else self._destinations.resolve(name)
        self.subscriptions.remove(id_, destination)
        return self._connection.region.last_batch

    def _acknowledge(self, headers: dict[str, str]) -> int:
        subscription, ref = self._dispatched("ACK", headers)
        transaction = self._named_transaction(headers)
        if transaction is not None:
            self.subscriptions.acknowledge_in(transaction, subscription, ref)
            return 0
        self.subscriptions.acknowledge(subscription, ref)
        if "receipt" in headers:
            return self.finish()
        self.is_gathering = True
        return 0

    def _refuse(self, headers: dict[str, str]) -> int:
        if self._version is Version.V1_0:
            raise FrameInvalid("NACK received but connection is in v1.0 mode.")
        subscription, ref = self._dispatched("NACK", headers)
        return self.subscriptions.refuse(subscription, ref, self._named_transaction(headers))

    def _dispatched(self, command: str, headers: dict[str, str]) -> tuple[Subscription, int]:
        """The subscription and the message's number that an ACK or NACK means."""
        if self._version is Version.V1_2:
            given = headers.get("id")
            if given is None:
                raise FrameInvalid(f"{command} received without an ack header to acknowledge!")
            found = self.subscriptions.by_ack_id(given.encode())
        else:
            given, id_ = headers.get("message-id"), headers.get("subscription")
            if given is None:
                raise FrameInvalid(f"{command} received without a message-id to acknowledge!")
            if id_ is None and self._version is Version.V1_1:
                raise FrameInvalid(f"{command} received without a subscription id for acknowledge!")
            found = self.subscriptions.by_message_id(escaped(given).encode(), id_)
        if found is None:
            raise FrameInvalid(f"Unexpected {command} received for message-id [{given[:100]}]")
        return found

    # ---- transactions

    def _transaction(self, name: str) -> str:
        """What the region calls a transaction."""
        transaction = self._transactions.get(name)
        if transaction is None:
            raise FrameInvalid(f"Invalid transaction id: {name[:100]}")
        return transaction

    def _named_transaction(self, headers: dict[str, str]) -> str | None:
        name = headers.get("transaction")
        return None if name is None else self._transaction(name)

    def _begin(self, headers: dict[str, str]) -> int:
        name = headers.get("transaction")
        if name is None:
            raise FrameInvalid("Must specify the transaction you are beginning")
        if name in self._transactions:
            raise FrameInvalid(f"The transaction was already started: {name[:100]}")
        transaction = f"TX:{self._connection.connection_id}:{next(self._transaction_numbers)}"
        self._connection.begin(transaction)
        self._transactions[name] = transaction
        return 0

    def _ended_transaction(self, headers: dict[str, str], step: str) -> str:
        name = headers.get("transaction")
        if name is None:
            raise FrameInvalid(f"Must specify the transaction you are {step}")
        transaction = self._transaction(name)
        del self._transactions[name]
        return transaction

    def _commit(self, headers: dict[str, str]) -> int | None:
        transaction = self._ended_transaction(headers, "committing")
        try:
            return self._connection.commit(transaction)
        except SendBlocked:
            receipt = self._receipt(headers.get("receipt"))
            self._connection.block_commit(
                transaction,
                lambda: self._connection.commit(transaction),
                lambda outcome: self._go_on(outcome, receipt),
            )
            return None

    def _abort(self, headers: dict[str, str]) -> int:
        self._connection.rollback(self._ended_transaction(headers, "aborting"))
        return 0

    # ---- the end

    def _disconnect(self, headers: dict[str, str]) -> None:
        """The client goes: its subscriptions end at once, the connection when what it sent is durable."""
        for key in list(self.subscriptions.by_key):
            self._connection.remove_consumer(key)
            self.subscriptions.forget(key)
        self._parting = self._receipt(headers.get("receipt"))
        self._leave(self._parting)

    def _leave(self, receipt: bytes) -> None:
        """Ends the connection unless sends still wait for space."""
        if not self._connection.blocked:
            self._server.leave(self._connection.region.last_batch, receipt)


_COMMANDS: Final[dict[str, Callable[[OpenedConnection, dict[str, str]], int | None]]] = {
    "ABORT": OpenedConnection._abort,
    "ACK": OpenedConnection._acknowledge,
    "BEGIN": OpenedConnection._begin,
    "COMMIT": OpenedConnection._commit,
    "CONNECT": OpenedConnection._connect,
    "DISCONNECT": OpenedConnection._disconnect,
    "NACK": OpenedConnection._refuse,
    "STOMP": OpenedConnection._connect,
    "SUBSCRIBE": OpenedConnection._subscribe,
    "UNSUBSCRIBE": OpenedConnection._unsubscribe,
}


def _cut(head: bytes, at: int, length: int) -> tuple[bytes, bytes]:
    """The value of a header, and the headers without it.

    Args:
        head: the headers.
        at: where it begins, with its line feed.
        length: of the line feed, its name and the colon.
    """
    end = head.find(b"\n", at + length)
    if end < 0:
        return head[at + length :], head[:at]
    return head[at + length : end], head[:at] + head[end:]
