"""Conversions: seconds in the code, milliseconds and dates for people. And the allowed clock skew. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

MS_PER_S = 1_000.0
MS = 0.001  # a millisecond, in seconds
CLOCK_SKEW_S = 5.0  # clocks may differ by so much: a timestamp this far ahead is accepted


def to_ms(seconds: float | None) -> float | None:
    """Seconds as milliseconds; `None` stays `None`."""
    return None if seconds is None else seconds * MS_PER_S


def to_s(milliseconds: float | None) -> float | None:
    """Milliseconds as seconds; `None` stays `None`."""
    return None if milliseconds is None else milliseconds / MS_PER_S


def minute(unix_s: float) -> str:
    """A time for people, in UTC: `2026-11-24 03:00`."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
