"""What the mq-client's producer writes into its messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mqclient.message import BytesMessage, Message, TextMessage

TEXT_SIZES: Mapping[str, int] = MappingProxyType({"100b": 100, "1K": 1024, "10K": 10 * 1024})
"""Characters of filler text by the option --textSize."""

_FILLER = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et "
    "dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut "
    "aliquip ex ea commodo consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum "
    "dolore eu fugiat nulla pariatur. "
)


def make_message(index: int, *, size: int, text_size: str | None) -> Message:
    """Message number ``index``: bytes of ``size``, a filler text, or a short counting text."""
    if size > 0:
        return BytesMessage(b"." * size)
    if text_size is None:
        return TextMessage(f"test message: {index}")
    length = TEXT_SIZES.get(text_size, TEXT_SIZES["100b"])
    filler = _FILLER * (length // len(_FILLER) + 1)
    return TextMessage(f"{index}::{filler[:length]}")


def describe(message: Message) -> str:
    """How a message is shown: its text, otherwise its id."""
    if isinstance(message, TextMessage) and message.text is not None:
        return message.text
    return message.message_id or "a message"
