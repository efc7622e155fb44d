"""Whether a text has markup of a chat template or internal signs of a tokenizer.

Markup that the prompt contains is no fault: a user may ask about chat templates.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<\|[a-z]+_[a-z_]+"  # ChatML, Llama 3, Phi: <|im_end|>, <|eot_id|>, also where it is cut
    r"|<｜[^｜<>]{1,40}｜>"  # DeepSeek, with full-width bars
    r"|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"  # Llama 2, Mistral
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"  # Gemma and others
    r"|<0x[0-9A-F]{2}>"  # a byte that the tokenizer has no character for
)
_SPEAKER = re.compile(r"\A\s*(?:system|user|model)\n|^assistant$", re.MULTILINE)  # where the tokens around are hidden
_WORD_STARTS = "Ġ▁"  # a space in byte-level BPE and in SentencePiece; a letter of Maltese, and a bar in charts


def has_markup(text: str, prompt: str = "") -> bool:
    """Whether the text has markup that the prompt does not contain."""
    if _SPEAKER.search(text) or any(found not in prompt for found in _MARKUP.findall(text)):
        return True
    opened, closed = text.count("<s>"), text.count("</s>")  # in pairs it is HTML
    if opened != closed and "<s>" not in prompt and "</s>" not in prompt:
        return True
    return sum(map(text.count, _WORD_STARTS)) > max(text.count(" "), 2)
