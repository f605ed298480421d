"""One connection that outlives its brokers: the pure core of the client.

Bytes, commands and the time go in; bytes, events and answered requests come out. The edge
(:mod:`mqclient.network`) owns the socket and obeys :class:`OpenSocket` and :class:`CloseSocket`.

::

    IDLE ─start─▶ WAITING ─time─▶ CONNECTING ─TCP─▶ NEGOTIATING ─WireFormatInfo─▶ LOGGING_IN ─▶ CONNECTED
                     ▲                │                  │                            │             │
                     └───── failed, timed out, refused, or the address left the list ─┴─────────────┘
    any state ─close, attempts used up, wrong password─▶ CLOSED

What a lost connection means for what was under way:

==========================================  ===========================================================
request                                     on the next connection
==========================================  ===========================================================
send, and anything else that only repeats   sent again, with its first message id: the broker drops repeats
session, consumer, producer, begin, …       part of the replayed state; the answer to that counts
remove                                      answered here: the new broker never knew of it
rollback                                    answered here: the lost connection rolled it back
commit that was sent                        in doubt: answered with TransactionRolledBack
==========================================  ===========================================================
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from broker.openwire.commands import (
    BaseCommand,
    ConnectionControl,
    ConnectionError,
    DataStructure,
    DestinationInfo,
    ExceptionResponse,
    Message,
    RemoveInfo,
    Response,
    ShutdownInfo,
    TransactionId,
    TransactionInfo,
)
from broker.openwire.constants import DestinationOperation, TransactionType
from broker.openwire.errors import CodecError
from broker.openwire.wireformat import CommandReceived, Negotiated, WireFormat
from broker.openwire.wireformat import Event as WireEvent
from mqclient.errors import (
    AuthenticationFailed,
    ClientError,
    ConnectionClosed,
    ConnectionFailed,
    FailoverTimeout,
    InvalidClientId,
    InvalidUrl,
    MessageFormatError,
    NotAuthorized,
    TransactionRolledBack,
    from_throwable,
)
from mqclient.events import (
    AddressesChanged,
    AttemptFailed,
    CloseSocket,
    CommandRefused,
    Event,
    Failed,
    Interrupted,
    OpenSocket,
    Request,
    Resumed,
    State,
)
from mqclient.options import UNLIMITED, FailoverOptions
from mqclient.reconnect import Outcome, ReconnectSchedule
from mqclient.replay import ConnectionState
from mqclient.url import BrokerAddress, parse_address

NEGOTIATION_TIMEOUT_S = 10.0
"""For the broker's WireFormatInfo, and again for its answer to the login. A frozen broker's kernel still
accepts connections. Apache's client waits 15 s."""

LOGIN_COMMAND_ID = 1


class FailoverTransport:
    """The core; the edge serialises all calls. See the module's docstring.

    Args:
        options: when to reconnect; None: a lost or failed connection is the end.
        follow_broker: take addresses that the broker names (not with discovery, where the registry knows
            better).
        make_wire: the protocol on one socket, new for each connection.
    """

    def __init__(
        self,
        state: ConnectionState,
        options: FailoverOptions | None,
        *,
        make_wire: Callable[[BrokerAddress, float], WireFormat],
        rng: random.Random,
        follow_broker: bool = False,
    ) -> None:
        self.state = State.IDLE
        self.error: ClientError | None = None
        self.address: BrokerAddress | None = None
        self.epoch = 0
        self._replay = state
        self._retrying = options is not None
        self._options = options or FailoverOptions(max_reconnect_attempts=0)
        self._schedule = ReconnectSchedule(self._options, rng)
        self._make_wire = make_wire
        self._wire: WireFormat | None = None
        self._follow_broker = follow_broker
        self._configured: tuple[BrokerAddress, ...] = ()
        self._attempt_deadline_s = 0.0
        self._disconnected_s = 0.0
        self._command_id = LOGIN_COMMAND_ID
        self._pending: dict[int, Request] = {}
        self._replayed: dict[int, BaseCommand] = {}

    # What the edge asks

    @property
    def connected(self) -> bool:
        """Whether commands go out now."""
        return self.state is State.CONNECTED

    @property
    def addresses(self) -> tuple[BrokerAddress, ...]:
        """The brokers that are known now."""
        return self._schedule.addresses

    @property
    def deadline_s(self) -> float | None:
        """When handle_deadline wants to be called; None: not before something happens."""
        candidates = [self._state_deadline_s(), self._failover_deadline_s()]
        return min((each for each in candidates if each is not None), default=None)

    def data_to_send(self) -> bytes:
        """Bytes for the present socket; each is given out once."""
        if self._wire is not None:
            return self._wire.data_to_send()
        return b""

    # What happened outside

    def start(self, addresses: Sequence[BrokerAddress], now_s: float) -> list[Event]:
        """Begin to connect; with discovery the list may still be empty."""
        assert self.state is State.IDLE
        self._configured = tuple(addresses)
        self._schedule.set_addresses(addresses, now_s)
        self._disconnected_s = now_s
        self.state = State.WAITING
        return self._proceed(now_s)

    def set_addresses(self, addresses: Sequence[BrokerAddress], now_s: float) -> list[Event]:
        """The registry's list changed. A connection to a broker that left it is dropped at once."""
        if self.state in (State.IDLE, State.CLOSED):
            return []
        added, removed = self._schedule.set_addresses(addresses, now_s)
        events: list[Event] = []
        if added or removed:
            events.append(AddressesChanged(tuple(added), tuple(removed)))
        unanswered = self.state in (State.CONNECTING, State.NEGOTIATING)
        if self.address is not None and self.address not in self._schedule.addresses:
            return events + self._drop("its address left the registry", now_s)
        if unanswered and added:
            return events + self._drop("a new broker was announced", now_s)
        return events + self._proceed(now_s)

    def socket_opened(self, now_s: float) -> list[Event]:
        """TCP is connected."""
        assert self.state is State.CONNECTING and self.address is not None
        self._wire = self._make_wire(self.address, now_s)
        self.state = State.NEGOTIATING
        self._attempt_deadline_s = now_s + NEGOTIATION_TIMEOUT_S
        return []

    def socket_lost(self, reason: str, now_s: float) -> list[Event]:
        """The socket could not be connected, failed, or was closed by the broker."""
        if self.address is None:
            return []
        return self._drop(reason, now_s)

    def receive_data(self, data: bytes, now_s: float) -> list[Event]:
        """Bytes came from the broker."""
        if self._wire is None:
            return []
        return self._take_wire_events(self._wire.receive_data(data, now_s), now_s)

    def handle_deadline(self, now_s: float) -> list[Event]:
        """Do what is due."""
        events: list[Event] = []
        if self.state is State.WAITING:
            events += self._proceed(now_s)
        elif self._is_attempting() and now_s >= self._attempt_deadline_s:
            events += self._drop(f"no answer while {self.state.value}", now_s)
        if self._wire is not None and self._wire.deadline_s is not None and now_s >= self._wire.deadline_s:
            events += self._take_wire_events(self._wire.handle_deadline(now_s), now_s)
        self._expire_requests(now_s)
        return events

    # What the program wants

    def request(self, request: Request, now_s: float) -> None:
        """Send a command that is answered, now or as soon as a broker is there; ``on_done`` tells the end.

        Raises:
            ConnectionFailed: the connection is over.
        """
        self._check_open()
        command = request.command
        request.created_s = now_s
        command.command_id = self._next_command_id()
        command.response_required = True
        if self._is_rolled_back(command):
            self._finish(request, error=_rolled_back(command))
            return
        self._pending[command.command_id] = request
        if self.state is State.CONNECTED:
            self._transmit(request)
        self._replay.track(command)
        if self.state is not State.CONNECTED and _is_void_without_connection(command):
            self._answer_here(request)

    def send(self, command: BaseCommand) -> bool:
        """Send a command that is not answered.

        Returns:
            False if it was neither sent nor kept for a replay, because there is no connection.

        Raises:
            ConnectionFailed: the connection is over.
        """
        self._check_open()
        command.command_id = self._next_command_id()
        if isinstance(command, Message) and self._is_rolled_back(command):
            return True
        if self.state is State.CONNECTED and self._wire is not None:
            self._wire.send(command)
            self._replay.track(command)
            return True
        return self._replay.track(command)

    def is_transaction_lost(self, transaction_id: TransactionId) -> bool:
        """Whether a failover has ended a transaction that was too large to replay."""
        transaction = self._replay.transactions.get(transaction_id)
        return transaction is not None and transaction.lost

    def forget(self, request: Request) -> None:
        """Nobody waits for this answer any more; it is not repeated after a failover."""
        self._pending.pop(request.command.command_id, None)

    def move_to(self, address: BrokerAddress, reason: str, now_s: float) -> list[Event]:
        """Leave the present broker for another one."""
        self._schedule.prefer(address)
        return self._drop(reason, now_s) if self.address is not None else self._proceed(now_s)

    def close(self, error: ClientError | None = None) -> list[Event]:
        """End the connection: a last ShutdownInfo, then nothing more; what is pending fails."""
        if self.state is State.CLOSED:
            return []
        if self.state is State.CONNECTED and self._wire is not None:
            self._wire.send(ShutdownInfo())
        self.error = error or ConnectionClosed("the connection was closed")
        had_socket = self.address is not None
        self.state = State.CLOSED
        self.address = None
        pending, self._pending = list(self._pending.values()), {}
        for request in pending:
            self._finish(request, error=self.error)
        events: list[Event] = [CloseSocket()] if had_socket else []
        return [*events, Failed(self.error)] if error is not None else events

    # Connecting

    def _is_attempting(self) -> bool:
        return self.state in (State.CONNECTING, State.NEGOTIATING, State.LOGGING_IN)

    def _proceed(self, now_s: float) -> list[Event]:
        if self.state is not State.WAITING:
            return []
        address = self._schedule.take(now_s)
        if address is None:
            return []
        self.address = address
        self.state = State.CONNECTING
        self._attempt_deadline_s = now_s + address.wire.connection_timeout / 1000
        return [OpenSocket(address)]

    def _drop(self, reason: str, now_s: float) -> list[Event]:
        """Leave the present socket, whatever its state, and go on."""
        address, was_connected = self.address, self.state is State.CONNECTED
        assert address is not None
        self.address = None
        self._wire = None
        self._replayed.clear()
        self.state = State.WAITING
        events: list[Event] = [CloseSocket()]
        if was_connected:
            self._disconnected_s = now_s
            self._schedule.lost(address, now_s)
            events.append(Interrupted(address, reason))
            if not self._retrying:
                return events + self._give_up(f"the connection to {address} was lost: {reason}")
            self._settle_interrupted()
        elif address in self._schedule.addresses:
            outcome = self._schedule.failed(address, now_s)
            rounds = self._schedule.failed_rounds
            events.append(AttemptFailed(address, reason, rounds, outcome is Outcome.WARN))
            if outcome is Outcome.GIVE_UP:
                return events + self._give_up(f"could not connect to {address}: {reason}")
        return events + self._proceed(now_s)

    def _give_up(self, reason: str) -> list[Event]:
        return self.close(ConnectionFailed(reason))

    def _settle_interrupted(self) -> None:
        """Answer the requests that the next broker cannot answer."""
        for request in list(self._pending.values()):
            command = request.command
            if _is_void_without_connection(command):
                self._answer_here(request)
            elif _is_commit(command) and request.sent:
                self._end_transaction(command)
                self._finish(request, error=_rolled_back(command, in_doubt=True))

    def _answer_here(self, request: Request) -> None:
        command = request.command
        self._end_transaction(command)
        self._finish(request, answer=Response(correlation_id=command.command_id))

    def _resume(self, now_s: float) -> list[Event]:
        """The login was accepted: tell the broker the rest."""
        assert self._wire is not None and self.address is not None
        first = self.epoch == 0
        self.state = State.CONNECTED
        self.epoch += 1
        self._schedule.connected(now_s)
        replayed = set()
        for command in self._replay.replay():
            self._wire.send(command)
            if command.response_required:
                replayed.add(command.command_id)
                self._replayed[command.command_id] = command
        for request in list(self._pending.values()):
            command_id = request.command.command_id
            if command_id in replayed:
                request.sent = True
                del self._replayed[command_id]
            else:
                self._repeat(request)
        return [Resumed(self.address, first)]

    def _repeat(self, request: Request) -> None:
        if self._is_rolled_back(request.command):
            self._finish(request, error=_rolled_back(request.command))
            return
        try:
            self._transmit(request)
        except CodecError as error:
            self._finish(request, error=MessageFormatError(str(error)))

    # Commands

    def _take_wire_events(
        self,
        received: Sequence[WireEvent],
        now_s: float,
    ) -> list[Event]:
        events: list[Event] = []
        wire = self._wire
        for each in received:
            if self._wire is not wire:
                break  # dropped meanwhile: the rest is void
            match each:
                case CommandReceived(command=command):
                    events += self._take_command(each, command, now_s)
                case Negotiated():
                    self._log_in(now_s)
                case _:
                    events += self._drop(str(each), now_s)
        return events

    def _log_in(self, now_s: float) -> None:
        assert self._wire is not None
        login = self._replay.login(reconnect=self.epoch > 0)
        login.command_id = LOGIN_COMMAND_ID
        self.state = State.LOGGING_IN
        self._attempt_deadline_s = now_s + NEGOTIATION_TIMEOUT_S
        self._wire.send(login)

    def _take_command(self, event: CommandReceived, command: DataStructure, now_s: float) -> list[Event]:
        if isinstance(command, Response):
            return self._take_response(command, now_s)
        if isinstance(command, ConnectionControl):
            return self._take_control(command, now_s)
        if isinstance(command, ConnectionError):
            error = from_throwable(command.exception)
            if self.state is State.LOGGING_IN:
                return self._login_refused(error, now_s)
            return [CommandRefused(None, error)]
        if isinstance(command, ShutdownInfo):
            return self._drop("the broker is shutting down", now_s)
        return [event]

    def _take_response(self, response: Response, now_s: float) -> list[Event]:
        error = from_throwable(response.exception) if isinstance(response, ExceptionResponse) else None
        if self.state is State.LOGGING_IN:
            if response.correlation_id != LOGIN_COMMAND_ID:
                return []
            return self._resume(now_s) if error is None else self._login_refused(error, now_s)
        request = self._pending.get(response.correlation_id)
        if request is not None:
            self._end_transaction(request.command)
            if error is not None:
                self._replay.refused(request.command)
            self._finish(request, answer=response, error=error)
            return []
        command = self._replayed.pop(response.correlation_id, None)
        if error is None:
            return []
        if command is not None:
            self._replay.refused(command)
        return [CommandRefused(command, error)]

    def _login_refused(self, error: ClientError, now_s: float) -> list[Event]:
        if isinstance(error, NotAuthorized):
            error = AuthenticationFailed(str(error), error.class_name)
        final = isinstance(error, AuthenticationFailed | InvalidClientId)
        if self.epoch == 0 and (final or not self._retrying):
            return self.close(error)
        return self._drop(f"login refused: {error}", now_s)

    def _take_control(self, control: ConnectionControl, now_s: float) -> list[Event]:
        """The broker names other brokers, or sends us to one."""
        if not self._follow_broker:
            return []
        events: list[Event] = []
        named = _addresses(control.connected_brokers, self.address)
        if named and self._options.update_uris_supported:
            events += self.set_addresses([*self._configured, *named], now_s)
        target = _addresses(control.reconnect_to, self.address)
        if target and self._options.reconnect_supported and target[0] != self.address:
            events += self.move_to(target[0], "the broker sent us to another one", now_s)
        elif self._should_rebalance(control) and named and self.address not in named:
            events += self.move_to(named[0], "the broker spreads its clients", now_s)
        return events

    def _should_rebalance(self, control: ConnectionControl) -> bool:
        return control.rebalance_connection and self._options.rebalance_update_uris

    def _transmit(self, request: Request) -> None:
        assert self._wire is not None
        try:
            self._wire.send(request.command)
        except CodecError:
            self._pending.pop(request.command.command_id, None)
            raise
        request.sent = True

    def _finish(
        self, request: Request, *, answer: Response | None = None, error: ClientError | None = None
    ) -> None:
        self._pending.pop(request.command.command_id, None)
        request.answer = answer
        request.error = error
        request.on_done(request)

    def _end_transaction(self, command: BaseCommand) -> None:
        match command:
            case TransactionInfo(transaction_id=TransactionId() as transaction_id, type=step):
                if step != TransactionType.BEGIN:
                    self._replay.end_transaction(transaction_id)
            case _:
                pass

    def _is_rolled_back(self, command: BaseCommand) -> bool:
        """Whether a commit or a send belongs to a transaction that a failover has ended."""
        match command:
            case Message(transaction_id=TransactionId() as transaction_id):
                return self.is_transaction_lost(transaction_id)
            case TransactionInfo(transaction_id=TransactionId() as transaction_id):
                return _is_commit(command) and self.is_transaction_lost(transaction_id)
            case _:
                return False

    def _next_command_id(self) -> int:
        self._command_id = self._command_id % 0x7FFFFFFF + 1
        if self._command_id == LOGIN_COMMAND_ID:
            self._command_id += 1
        return self._command_id

    def _check_open(self) -> None:
        if self.state is State.CLOSED:
            assert self.error is not None
            raise self.error

    # Time

    def _state_deadline_s(self) -> float | None:
        match self.state:
            case State.WAITING:
                return self._schedule.due_s
            case State.CONNECTING:
                return self._attempt_deadline_s
            case State.NEGOTIATING | State.LOGGING_IN:
                wire_s = self._wire.deadline_s if self._wire is not None else None
                return min(
                    self._attempt_deadline_s, wire_s if wire_s is not None else self._attempt_deadline_s
                )
            case State.CONNECTED:
                return self._wire.deadline_s if self._wire is not None else None
            case _:
                return None

    def _failover_deadline_s(self) -> float | None:
        timeout = self._options.timeout
        if timeout in (UNLIMITED, 0) or self.state is State.CONNECTED or not self._pending:
            return None
        oldest = next(iter(self._pending.values()))
        return max(oldest.created_s, self._disconnected_s) + timeout / 1000

    def _expire_requests(self, now_s: float) -> None:
        """The option ``timeout``: fail what has waited for a broker for too long."""
        while (due_s := self._failover_deadline_s()) is not None and now_s >= due_s:
            oldest = next(iter(self._pending.values()))
            self._replay.refused(oldest.command)
            error = FailoverTimeout(f"Failover timeout of {self._options.timeout} ms reached.")
            self._finish(oldest, error=error)


def _is_commit(command: BaseCommand) -> bool:
    return isinstance(command, TransactionInfo) and command.type == TransactionType.COMMIT_ONE_PHASE


def _is_void_without_connection(command: BaseCommand) -> bool:
    """Whether a lost connection has done what the command asks for."""
    if isinstance(command, TransactionInfo):
        return command.type == TransactionType.ROLLBACK
    if isinstance(command, DestinationInfo):
        return command.operation_type == DestinationOperation.REMOVE
    return isinstance(command, RemoveInfo)


def _rolled_back(command: BaseCommand, *, in_doubt: bool = False) -> TransactionRolledBack:
    if in_doubt:
        return TransactionRolledBack(
            "the connection was lost during commit; whether the broker has committed is unknown"
        )
    return TransactionRolledBack("the transaction was too large to be repeated after a failover")


def _addresses(text: str | None, present: BrokerAddress | None) -> list[BrokerAddress]:
    """The broker URLs in a list that the broker sent; what we cannot use is left out."""
    addresses = []
    for name in (text or "").removeprefix("failover:").strip("()/ ").split(","):
        if not name.strip():
            continue
        try:
            address = parse_address(name.partition("?")[0], present.wire if present else None)
        except InvalidUrl:
            continue
        if address.is_tls or present is None or not present.is_tls:  # who wanted TLS is not led away from it
            addresses.append(address)
    return addresses
