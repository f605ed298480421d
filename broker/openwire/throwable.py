"""A Java exception as OpenWire carries it: names and texts; no class is ever looked up or made from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StackTraceElement:
    """One line of a Java stack trace; line_number may be negative (unknown, native)."""

    class_name: str | None
    method_name: str | None
    file_name: str | None
    line_number: int


@dataclass(frozen=True, slots=True)
class Throwable:
    """An exception named by its Java class, such as ``javax.jms.InvalidDestinationException``.

    Attributes:
        class_name: the Java class the peer may make from it.
        message: its text.
        stack: its stack trace; carried only if both ends enabled stack traces.
        cause: what caused it; carried only with stack traces.
    """

    class_name: str | None
    message: str | None
    stack: tuple[StackTraceElement, ...] = ()
    cause: Throwable | None = None

    def __str__(self) -> str:
        """As Java writes it."""
        name = self.class_name or "java.lang.Throwable"
        return name if self.message is None else f"{name}: {self.message}"
