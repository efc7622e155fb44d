"""Seconds in the code, milliseconds and dates in what people read; and how far clocks may be apart. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

MS_PER_S = 1_000.0
MS = 0.001  # a millisecond, in seconds
CLOCK_SKEW_S = 5.0  # a timestamp this far ahead is a clock that is slightly off, not a lie


def to_ms(seconds: float | None) -> float | None:
    """What is unknown, `None`, stays so."""
    return None if seconds is None else seconds * MS_PER_S


def to_s(milliseconds: float | None) -> float | None:
    """What is unknown, `None`, stays so."""
    return None if milliseconds is None else milliseconds / MS_PER_S


def minute(unix_s: float) -> str:
    """A time as people read it, UTC: `2026-11-24 03:00`."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
