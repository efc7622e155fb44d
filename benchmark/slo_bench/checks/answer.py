"""One answer as the checks see it, and the names of the faults."""

from __future__ import annotations

from typing import NamedTuple

EMPTY = "empty"  # nothing but white space
TRUNCATED = "truncated"  # the stream ended in the middle
SPECIAL_TOKEN = "special_token"  # noqa: S105  # the chat template's markup is in the text
UNDECODABLE = "undecodable"  # bytes that are no text: U+FFFD or control characters
LOOPING = "looping"  # repeats itself
BROKEN_JSON = "broken_json"  # JSON was asked for
NO_STOP = "no_stop"  # never ends by itself, while other deployments' answers do
GIBBERISH = "gibberish"  # unlike both the prompts and the other deployments' answers
FAULTS = (TRUNCATED, EMPTY, SPECIAL_TOKEN, UNDECODABLE, LOOPING, GIBBERISH, BROKEN_JSON, NO_STOP)  # the clearest first
BESIDE_OTHERS = frozenset({GIBBERISH, NO_STOP})  # found only beside another deployment's answers


class Answer(NamedTuple):
    """The answer to one prompt. `finish_reason` is the server's, `None` where it gave none."""

    text: str
    finish_reason: str | None = None
    prompt: str = ""  # all text of the prompt: an answer may repeat it
    expects_json: bool = False
    is_cut: bool = False  # the stream ended before it was complete
    reasoning_chars: int = 0  # of visible reasoning, sent apart from the answer
    is_mostly_reasoning: bool = False  # most of its tokens are hidden reasoning

    @property
    def ran_out(self) -> bool:
        """Whether it ended at `max_tokens`: then its end is missing, and that is no fault."""
        return self.finish_reason == "length"
