"""What LiteLLM books. A callback beside the plugin writes a line for each event from which LiteLLM writes its spend.

A database gets one row for each of the same events. An answer without an event is not billed, and an answer with two
events is billed twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from evaluation.robustness.stalls.asking import Answer

CALLBACK, FILE = "ledger.callback", "ledger.jsonl"
CODE = f'''
import json
import pathlib

from litellm.integrations.custom_logger import CustomLogger

FILE = pathlib.Path(__file__).with_name("{FILE}")


class Ledger(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        said = kwargs["standard_logging_object"]
        with FILE.open("a") as lines:
            lines.write(json.dumps([kwargs["litellm_call_id"], said["response_cost"]]) + "\\n")


callback = Ledger()
'''


class Booked(NamedTuple):
    """How many finished answers were booked once, twice or more, or never."""

    once: int
    twice: int
    never: int


def call_ids(answers: Iterable[Answer]) -> list[str]:
    """The call ids of the finished answers, from LiteLLM's header."""
    return [answer.headers.get("x-litellm-call-id", "") for answer in answers if answer.is_finished]


def booked(directory: Path, ids: Iterable[str]) -> Booked:
    """How often each of these calls was booked, by the ledger in a proxy's directory."""
    path = directory / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    events = Counter(json.loads(line)[0] for line in lines)
    found = Counter(min(events[call_id], 2) for call_id in ids)
    return Booked(found[1], found[2], found[0])
