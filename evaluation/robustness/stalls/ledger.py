"""What LiteLLM books: a line for each of the events from which it writes its spend, by a callback beside the plugin's.

A database's rows are made of the same events, one each. An answer that has none is not billed, and one that has two is
billed twice.
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
    """Of the answers that were finished."""

    once: int
    twice: int
    never: int


def call_ids(answers: Iterable[Answer]) -> list[str]:
    """Of those that were finished, as LiteLLM's header names their calls."""
    return [answer.headers.get("x-litellm-call-id", "") for answer in answers if answer.is_finished]


def booked(directory: Path, ids: Iterable[str]) -> Booked:
    """What became of these calls, by what was booked in a proxy's directory."""
    path = directory / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    events = Counter(json.loads(line)[0] for line in lines)
    found = Counter(min(events[call_id], 2) for call_id in ids)
    return Booked(found[1], found[2], found[0])
