"""One request's try at one deployment, from the pick to its one ending. Pure.

    picked ──LiteLLM sends it──→ sent ──LiteLLM tells how it went──→ over
       └───LiteLLM picks again and never sent it───→ over: "released"

A retry, a fallback and a pick that LiteLLM chose itself each make an attempt of their own. LiteLLM's hooks tell each
step. One thing is concluded: an attempt that was sent, and of which LiteLLM says nothing before it picks again, failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from slo_router.live.state import Ending, Flight

# Whose fault a failed attempt is. A refusal (HTTP 4xx) may be the request's or the account's, unless it says which; a
# 429 is nobody's: the deployment is full.
Fault = Literal["deployment", "quota", "account", "unclear", "request"]
ENDINGS: Mapping[Fault, Ending] = MappingProxyType(
    {"deployment": "error", "quota": "full", "account": "denied", "unclear": "refused", "request": "released"}
)


@dataclass(slots=True, eq=False)
class Attempt:
    """The attempt at one deployment. `ending` is `None` while it is under way, and is set once."""

    deployment_id: str
    flight: Flight | None = None  # its part in the load; `None` where live measurements are off
    is_sent: bool = False
    first_token_s: float | None = None  # Unix seconds; `None` before it, and where nobody saw it
    ending: Ending | None = None
    sent_s: float | None = None  # Unix seconds, as those below
    ended_s: float | None = None
    deadline_s: float | None = None  # when its first content was to be there; `None` where nobody looks
    longest_s: float = 0.0  # from its dispatch: until when it may be waited for
    is_given_up: bool = False  # it let the deadline pass, and the request went on to another deployment

    def superseded(self) -> Ending:
        """What it means that LiteLLM picks again while this attempt is under way."""
        return "error" if self.is_sent else "released"
