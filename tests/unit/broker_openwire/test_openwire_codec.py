"""The codec: every type, every version, every encoding; and what it refuses."""

from __future__ import annotations

import contextlib
import dataclasses
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.openwire_strategies import sample, structures

from broker.openwire import codec_source, limits, schema
from broker.openwire.codec import Codec, prepare
from broker.openwire.commands import (
    ActiveMQQueue,
    ActiveMQTextMessage,
    BrokerInfo,
    ConnectionError,
    ConnectionId,
    ConnectionInfo,
    ConsumerId,
    DataStructure,
    KeepAliveInfo,
    MessageDispatch,
    MessageId,
    ProducerId,
    ProducerInfo,
    RemoveInfo,
    Response,
    SessionId,
    SessionInfo,
)
from broker.openwire.errors import CodecError, FrameTooLarge
from broker.openwire.throwable import StackTraceElement, Throwable

VERSIONS = range(schema.VERSION_MIN, schema.VERSION_MAX + 1)
ENCODINGS = [(tight, cache) for tight in (False, True) for cache in (False, True)]
CODED = [each for each in schema.TYPES if each.code is not None]


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_type_comes_back_as_it_was_sent(version: int, tight: bool, cache: bool) -> None:
    """A structure of any type and version is equal to itself after a trip, on codecs in use."""
    random = Random(version)
    for stack_trace in (False, True):
        sender, receiver = (
            Codec(version, tight, cache, cache_size=110, stack_trace=stack_trace) for _ in range(2)
        )
        for each in CODED * 3:
            if each.since <= version:
                command = sample(each, version, random, stack_trace=stack_trace)
                frame = sender.encode(command)
                assert int.from_bytes(frame[:4], "big") == len(frame) - 4
                assert receiver.decode(frame[4:]) == command


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
@given(data=st.data(), version=st.sampled_from(VERSIONS), stack_trace=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_structure_comes_back(
    tight: bool, cache: bool, data: st.DataObject, version: int, stack_trace: bool
) -> None:
    """Whatever the content of a structure is, decoding its frame gives an equal one."""
    known = [each for each in CODED if each.since <= version]
    each = data.draw(st.sampled_from(known))
    command = data.draw(structures(each, version, stack_trace=stack_trace))
    frame = Codec(version, tight, cache, stack_trace=stack_trace, size_prefix=False).encode(command)
    assert Codec(version, tight, cache, stack_trace=stack_trace).decode(frame) == command


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
@given(garbage=st.binary(max_size=200), code=st.sampled_from([each.code for each in CODED]))
@settings(max_examples=300, deadline=None)
def test_garbage_raises_codec_error_only(tight: bool, cache: bool, garbage: bytes, code: int) -> None:
    """Whatever the bytes are, decoding gives a structure or a CodecError."""
    with contextlib.suppress(CodecError):
        Codec(12, tight, cache).decode(garbage)
    with contextlib.suppress(CodecError):
        Codec(12, tight, cache).decode(bytes((code,)) + garbage)


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_raises_codec_error_only(tight: bool, cache: bool, data: st.DataObject) -> None:
    """A frame with one byte changed, or cut anywhere, gives a structure or a CodecError."""
    each = data.draw(st.sampled_from(CODED))
    frame = bytearray(Codec(12, tight, cache, size_prefix=False).encode(data.draw(structures(each, 12))))
    at = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(CodecError):
        Codec(12, tight, cache).decode(bytes(frame[:at]))
    frame[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        Codec(12, tight, cache).decode(bytes(frame))


@pytest.mark.parametrize(("tight", "cache"), ENCODINGS)
def test_trailing_bytes_are_refused(tight: bool, cache: bool) -> None:
    """A frame longer than its command is damaged."""
    frame = Codec(12, tight, cache, size_prefix=False).encode(KeepAliveInfo())
    with pytest.raises(CodecError, match="it ends at byte"):
        Codec(12, tight, cache).decode(frame + b"\0")


def test_unknown_types_are_named() -> None:
    """The error for an unknown or missing type byte says which it was."""
    with pytest.raises(CodecError, match="type 13 is unknown"):
        Codec().decode(b"\x0d")
    with pytest.raises(CodecError, match="type 0 is unknown"):
        Codec().decode(b"\0")
    with pytest.raises(CodecError, match="a frame is empty"):
        Codec().decode(b"")


def test_types_of_a_later_version_are_unknown() -> None:
    """ProducerAck came with version 3: version 2 neither writes nor reads it."""
    frame = Codec(3, size_prefix=False).encode(schema_instance("ProducerAck"))
    with pytest.raises(CodecError):
        Codec(2).decode(frame)
    with pytest.raises(CodecError):
        Codec(2).encode(schema_instance("ProducerAck"))


def schema_instance(name: str) -> DataStructure:
    """An empty structure of a type."""
    from broker.openwire import commands

    made = getattr(commands, name)()
    assert isinstance(made, DataStructure)
    return made


@pytest.mark.parametrize("tight", [False, True])
def test_a_structure_of_the_wrong_kind_is_refused(tight: bool) -> None:
    """A connection id where a session id belongs is neither written nor read."""
    with pytest.raises(CodecError):
        Codec(12, tight).encode(SessionInfo(session_id=ConnectionId("c")))  # the wrong kind on purpose
    frame = bytearray(Codec(12, tight, size_prefix=False).encode(SessionInfo(session_id=SessionId("c", 1))))
    frame[frame.index(SessionId.TYPE_CODE)] = ConnectionId.TYPE_CODE
    with pytest.raises(CodecError):
        Codec(12, tight).decode(bytes(frame))


@pytest.mark.parametrize("tight", [False, True])
def test_a_cached_structure_of_the_wrong_kind_is_refused(tight: bool) -> None:
    """A cache number may only stand where a structure of its kind belongs."""
    sender, receiver = (Codec(12, tight, True, size_prefix=False) for _ in range(2))
    receiver.decode(sender.encode(SessionInfo(session_id=SessionId("c", 1))))
    frame = sender.encode(SessionInfo(session_id=SessionId("c", 1)))
    wrong = ProducerInfo(producer_id=None)
    assert wrong is not None
    forged = Codec(12, tight, True, size_prefix=False)
    forged.encode(ConnectionInfo(connection_id=ConnectionId("c")))
    frame = forged.encode(ConnectionInfo(connection_id=ConnectionId("c")))
    with pytest.raises(CodecError, match="SessionId was cached as 0, not a ConnectionId"):
        receiver.decode(frame)


@pytest.mark.parametrize("tight", [False, True])
def test_an_unknown_cache_number_is_refused(tight: bool) -> None:
    """A number that was never given is an error, and one outside the cache too."""
    sender = Codec(12, tight, True, cache_size=200, size_prefix=False)
    command = SessionInfo(session_id=SessionId("c", 1))
    first, second = sender.encode(command), sender.encode(command)
    with pytest.raises(CodecError, match="nothing was cached as 0"):
        Codec(12, tight, True).decode(second)
    outside = first.replace(b"\x00\x00", b"\x7f\xff") if tight else first[:6] + b"\x01\x7f\xff" + first[9:]
    with pytest.raises(CodecError, match="no place in a cache"):
        Codec(12, tight, True, cache_size=200).decode(outside)


@pytest.mark.parametrize("tight", [False, True])
def test_the_cache_goes_round(tight: bool) -> None:
    """More different ids than the cache holds, old and new, all arrive."""
    sender, receiver = (Codec(12, tight, True, cache_size=110, size_prefix=False) for _ in range(2))
    for number in [*range(300), *range(50), *range(290, 400)]:
        command = SessionInfo(session_id=SessionId("c", number))
        assert receiver.decode(sender.encode(command)) == command


@pytest.mark.parametrize("tight", [False, True])
def test_one_frame_with_more_ids_than_the_cache_holds(tight: bool) -> None:
    """What finds no place in the cache is sent in full and not remembered."""
    sender, receiver = (Codec(12, tight, True, cache_size=2, size_prefix=False) for _ in range(2))
    producer = ProducerId("c", 1, 1)
    message = ActiveMQTextMessage(
        producer_id=producer,
        destination=ActiveMQQueue("a"),
        original_destination=ActiveMQQueue("b"),
        message_id=MessageId(None, producer, 1, 0),
        target_consumer_id=ConsumerId("c", 1, 1),
    )
    for _ in range(3):
        assert receiver.decode(sender.encode(message)) == message


@pytest.mark.parametrize("tight", [False, True])
def test_a_failed_encoding_leaves_the_cache_alone(tight: bool) -> None:
    """After a command that could not be written, the peer is not told of numbers it never saw."""
    sender, receiver = (Codec(12, tight, True, size_prefix=False) for _ in range(2))
    info = ConnectionInfo(connection_id=ConnectionId("c"), client_id="x" * 70_000)
    with pytest.raises(CodecError):
        sender.encode(info)
    info.client_id = "y"
    assert receiver.decode(sender.encode(info)) == info


@pytest.mark.parametrize(("tight", "size_max"), [(False, 65_535), (True, 32_766)])
def test_string_limits(tight: bool, size_max: int) -> None:
    """The longest string each encoding can carry goes through; one byte more is refused."""
    codec = Codec(12, tight, size_prefix=False)
    longest = ConnectionInfo(client_id="x" * size_max)
    assert codec.decode(codec.encode(longest)) == longest
    with pytest.raises(CodecError, match="longer than"):
        codec.encode(ConnectionInfo(client_id="x" * (size_max + 1)))
    with pytest.raises(CodecError, match="longer than"):
        codec.encode(ConnectionInfo(client_id="€" * (size_max // 3 + 1)))


@pytest.mark.parametrize("tight", [False, True])
def test_nesting_limit(tight: bool) -> None:
    """Structures nested beyond the limit are refused, not followed."""
    codec = Codec(12, tight, size_prefix=False)
    message: ActiveMQTextMessage | None = None
    for _ in range(limits.NESTING_DEPTH_MAX + 2):
        message = ActiveMQTextMessage(data_structure=message)
    assert message is not None
    frame = codec.encode(message)
    with pytest.raises(CodecError, match="nested more than"):
        codec.decode(frame)
    info = BrokerInfo()
    for _ in range(limits.NESTING_DEPTH_MAX + 1):
        info = BrokerInfo(peer_broker_infos=(info,))
    with pytest.raises(CodecError, match="nested more than"):
        codec.decode(codec.encode(info))


@pytest.mark.parametrize("tight", [False, True])
def test_chain_of_causes_limit(tight: bool) -> None:
    """An exception with too many causes is refused."""
    codec = Codec(12, tight, stack_trace=True, size_prefix=False)
    deep: Throwable | None = None
    for _ in range(limits.CAUSES_MAX + 1):
        deep = Throwable("java.lang.Throwable", "m", (), deep)
    command = ConnectionError(exception=deep)
    assert codec.decode(codec.encode(command)) == command
    with pytest.raises(CodecError, match="causes"):
        codec.decode(codec.encode(ConnectionError(exception=Throwable("x", "m", (), deep))))


@pytest.mark.parametrize("tight", [False, True])
def test_negative_array_length_is_refused(tight: bool) -> None:
    """A count below zero is an error."""
    codec = Codec(12, tight, size_prefix=False)
    frame = codec.encode(BrokerInfo(peer_broker_infos=()))
    at = frame.rindex(b"\0\0\0\0") if tight else 0
    frames = [frame[:i] + b"\xff\xff" + frame[i + 2 :] for i in range(1, len(frame) - 1)]
    assert at >= 0
    reasons = []
    for each in frames:
        try:
            codec.decode(each)
        except CodecError as error:
            reasons.append(str(error))
    assert any("negative length" in reason for reason in reasons)


@pytest.mark.parametrize("tight", [False, True])
def test_frame_size_limit(tight: bool) -> None:
    """A frame above the limit is neither sent nor read."""
    frame = Codec(12, tight, size_prefix=False).encode(ConnectionInfo(client_id="x" * 2000))
    with pytest.raises(FrameTooLarge, match="larger than the maximum of 1000 bytes"):
        Codec(12, tight, frame_size_max=1000).decode(frame)
    with pytest.raises(FrameTooLarge):
        Codec(12, tight, frame_size_max=1000).encode(ConnectionInfo(client_id="x" * 2000))


@pytest.mark.parametrize("tight", [False, True])
def test_numbers_out_of_range_are_refused(tight: bool) -> None:
    """A number its field cannot hold is an error of encoding."""
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(CodecError, match="Response cannot be written"):
            Codec(12, tight).encode(Response(correlation_id=value))
    with pytest.raises(CodecError):
        Codec(12, tight).encode(RemoveInfo(last_delivered_sequence_id=2**63))


def test_abstract_types_are_refused() -> None:
    """A type without a code has no bytes."""
    with pytest.raises(CodecError, match="DataStructure cannot be written"):
        Codec().encode(DataStructure())


@pytest.mark.parametrize("version", [0, 13, -1])
def test_unknown_versions_are_refused(version: int) -> None:
    """There are versions 1 to 12."""
    with pytest.raises(CodecError, match=f"version {version} "):
        Codec(version)


@pytest.mark.parametrize("tight", [False, True])
def test_stack_traces_travel_only_if_enabled(tight: bool) -> None:
    """Without stack traces an exception is its class name and message."""
    stack = (StackTraceElement("a.B", "c", "B.java", 12),)
    error = ConnectionError(exception=Throwable("a.B", "m", stack, Throwable("a.C", None)))
    plain = Codec(12, tight, size_prefix=False)
    assert plain.decode(plain.encode(error)) == ConnectionError(exception=Throwable("a.B", "m"))
    full = Codec(12, tight, stack_trace=True, size_prefix=False)
    assert full.decode(full.encode(error)) == error


def test_many_flags_take_a_longer_length() -> None:
    """Tight encoding's stream of flags works with lengths of one, two and three bytes."""
    codec = Codec(12, True, size_prefix=False)
    for count in (1, 500, 600, 3000, 32_767):
        command = BrokerInfo(peer_broker_infos=(None,) * count)
        assert codec.decode(codec.encode(command)) == command
    with pytest.raises(CodecError, match="flags"):
        codec.encode(BrokerInfo(peer_broker_infos=(BrokerInfo(peer_broker_infos=(None,) * 32_767),) * 9))


def test_a_message_marshalled_before_is_refused() -> None:
    """The flag no known client sets is refused, not misread."""
    codec = Codec(12, True, size_prefix=False)
    frame = bytearray(codec.encode(MessageDispatch(message=ActiveMQTextMessage())))
    flags = int.from_bytes(frame[2 : 2 + frame[1]], "little")
    flags |= 1 << 4  # response_required, consumer, destination, message present, then the flag in question
    frame[2 : 2 + frame[1]] = flags.to_bytes(frame[1], "little")
    with pytest.raises(CodecError, match="marshalled before"):
        codec.decode(bytes(frame))


def test_source_is_shown_in_tracebacks() -> None:
    """The generated text can be read where it is compiled: it names its types plainly."""
    source = codec_source.codec_source(12, tight=False, cache=False)
    assert "def decode_ActiveMQTextMessage(b, p, d, r):" in source
    prepare(12)


def test_commands_stay_slotted_dataclasses() -> None:
    """A structure can be copied with a change, as the broker does when it readdresses one."""
    info = dataclasses.replace(ConnectionInfo(client_id="a"), client_id="b")
    assert info.client_id == "b"


def test_flags_of_a_negative_length_are_refused() -> None:
    """A 16-bit length of flags is signed in Java, and negative ones are refused."""
    with pytest.raises(CodecError, match="negative length"):
        Codec(12, True).decode(b"\x0a\x80\xff\xff")
