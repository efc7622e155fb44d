"""Every error this package raises on purpose.

    SloRouterError
    ├── SettingsError     the YAML is wrong: stops start-up, names the YAML path, the value and what was expected
    ├── RequestSloError   a client's SLO is malformed: HTTP 400, names the header or field and the value
    └── FeedbackError     a rating cannot be taken: an HTTP status, and says why

All are also `ValueError`. Any other error that escapes the plugin is a defect. During a pick one place catches it, and
the request goes on as LiteLLM alone would have routed it.
"""

from __future__ import annotations


class SloRouterError(Exception):
    """Root of this package's errors."""


class SettingsError(SloRouterError, ValueError):
    """A configuration value is unusable; the message is meant for the person who wrote the YAML."""


class RequestSloError(SloRouterError, ValueError):
    """A value that a client sent is unusable; the message is meant for the person who sent it."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        try:
            shown = repr(value)
        except (ValueError, RecursionError):  # an integer of thousands of digits, a list nested a thousand deep
            shown = f"this {type(value).__name__}"
        if len(shown) > 80:
            shown = shown[:77] + "..."
        super().__init__(f"{field}: {shown} is not valid, expected {expected}")


class FeedbackError(SloRouterError, ValueError):
    """A rating that cannot be taken; the message is meant for the person who sent it, `status` is the HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)
