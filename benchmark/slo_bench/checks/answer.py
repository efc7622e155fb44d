"""One answer as the checks see it, and the names of what they find."""

from __future__ import annotations

from typing import NamedTuple

EMPTY = "empty"  # nothing but white space
TRUNCATED = "truncated"  # the stream ended in the middle
SPECIAL_TOKEN = "special_token"  # noqa: S105  # the chat template's markup is in the text
UNDECODABLE = "undecodable"  # bytes that are no text: U+FFFD or control characters
LOOPING = "looping"  # says the same over and over
BROKEN_JSON = "broken_json"  # where JSON was asked for
NO_STOP = "no_stop"  # never ends by itself where others do
GIBBERISH = "gibberish"  # reads like neither the prompts nor the others' answers
FAULTS = (TRUNCATED, EMPTY, SPECIAL_TOKEN, UNDECODABLE, LOOPING, GIBBERISH, BROKEN_JSON, NO_STOP)  # the plainest first
BESIDE_OTHERS = frozenset({GIBBERISH, NO_STOP})  # found only beside another deployment's answers


class Answer(NamedTuple):
    """What came back for one prompt. `finish_reason` is the server's, `None` where it gave none."""

    text: str
    finish_reason: str | None = None
    prompt: str = ""  # all of its text: an answer may repeat what stands there
    expects_json: bool = False
    is_cut: bool = False  # the stream ended before it was complete
    reasoning_chars: int = 0  # said apart from the answer
    is_mostly_reasoning: bool = False  # most of its tokens are reasoning that nobody sees

    @property
    def ran_out(self) -> bool:
        """It reached `max_tokens`, so that its end is missing by our own will."""
        return self.finish_reason == "length"
