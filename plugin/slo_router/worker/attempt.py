"""One request's try at one deployment, from the pick to its one ending. Pure.

    picked ──LiteLLM sends it──→ sent ──LiteLLM tells how it went──→ over
       └───LiteLLM picks again and never sent it───→ over: "released"

Each retry, each fallback and each pick that LiteLLM made itself is an attempt of its own. LiteLLM's hooks report each
step. One end is inferred: if LiteLLM picks again without reporting the end of an attempt that was sent, it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from slo_router.live.state import Ending, Flight

# Whose fault a failed attempt is. A refusal (HTTP 4xx) may be the fault of the request or of the account, unless it
# says which. A 429 is nobody's fault: the deployment is full.
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
    first_token_s: float | None = None  # Unix seconds; `None` before it, and if it was not seen
    ending: Ending | None = None
    sent_s: float | None = None  # Unix seconds, as those below
    ended_s: float | None = None
    deadline_s: float | None = None  # when its first content should be there; `None` without a deadline
    longest_s: float = 0.0  # so long after its dispatch it may be waited for at most
    is_given_up: bool = False  # it let the deadline pass, and the request went on to another deployment

    def superseded(self) -> Ending:
        """What it means that LiteLLM picks again while this attempt is under way."""
        return "error" if self.is_sent else "released"
