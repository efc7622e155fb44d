"""What a real model answers, intact and broken: the data on which the answer checks are tested.

    python -m evaluation.quality.real_answers answers.jsonl         asks every variant below, an hour on two cores

Llama.cpp serves SmolLM2-135M in quantizations that keep it sensible, in quantizations that do not, with chat templates
of other models, and with a tokenizer whose tokens are shifted by one. The answers were recorded once, in
`evaluation/data/real_answers.jsonl`. The prompts are from `evaluation/data/prompts.jsonl`. Some of its split `train`
choose a threshold; all other prompts test it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
import msgspec

from evaluation.shared.real_server import RealDeployment, RunningServer, running_servers

RECORDED = Path(__file__).parents[1] / "data" / "real_answers.jsonl"
_PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
_MAX_TOKENS = {"ner": 64, "summarization": 64, "reasoning": 80, "code": 80, "chat": 80}
_SLOTS = 8
_CHOOSING, _ASKED = 4, 8  # prompts of each category: of `train` to choose, of each split in all

Half = Literal["choose", "try"]

TEMPLATES = {
    "llama2": "{% for m in messages %}{% if m['role'] == 'system' %}<<SYS>>\n{{ m['content'] }}\n<</SYS>>\n\n"
    "{% elif m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]{% else %} {{ m['content'] }} </s>{% endif %}"
    "{% endfor %}",
    "llama3": "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<bos>{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}<start_of_turn>model\n",
    "vicuna": "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
    "{% elif m['role'] == 'user' %}USER: {{ m['content'] }}\n{% else %}ASSISTANT: {{ m['content'] }}</s>\n{% endif %}"
    "{% endfor %}ASSISTANT:",
    "none": "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
    "unprompted": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}",
}
"""Of other models, in place of SmolLM2's ChatML; `unprompted` is ChatML without the assistant's turn at its end."""


class Variant(NamedTuple):
    """One way to serve the model. `is_sound`: the variant should work."""

    name: str
    deployment: RealDeployment
    is_sound: bool = False


def _deployment(**settings: object) -> RealDeployment:
    return RealDeployment(name="smollm2", context_tokens=2_560, slots=_SLOTS, **settings)  # type: ignore[arg-type]


VARIANTS = (
    *(Variant(name, _deployment(quantization=name), is_sound=True) for name in ("Q4_1", "Q4_0", "Q5_1", "Q8_0")),
    *(Variant(name, _deployment(quantization=name)) for name in ("Q3", "Q2")),
    *(
        Variant(f"{name} template", _deployment(quantization="Q4_0", chat_template=text))
        for name, text in TEMPLATES.items()
    ),
    Variant("shifted tokenizer", _deployment(quantization="Q4_0", wrong_tokenizer=True)),
)


class RealAnswer(msgspec.Struct, frozen=True):
    """One answer, as it was recorded."""

    variant: str
    id: str
    half: Half
    category: str
    finish_reason: str
    text: str


class RealPrompt(NamedTuple):
    """One prompt of the study."""

    id: str
    half: Half
    category: str
    messages: Sequence[Mapping[str, str]]

    @property
    def text(self) -> str:
        """The text of all messages."""
        return "\n".join(str(message["content"]) for message in self.messages)


def read_prompts() -> Iterator[RealPrompt]:
    """The first prompts of each category and split."""
    seen: Counter[tuple[str, str]] = Counter()
    for line in _PROMPTS.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        key = entry["category"], entry["split"]
        seen[key] += 1
        if seen[key] <= _ASKED:
            half: Half = "choose" if entry["split"] == "train" and seen[key] <= _CHOOSING else "try"
            yield RealPrompt(entry["id"], half, entry["category"], entry["messages"])


def read_answers(path: Path = RECORDED) -> list[RealAnswer]:
    """The recorded answers."""
    return [msgspec.json.decode(line, type=RealAnswer) for line in path.read_bytes().splitlines()]


async def ask(server: RunningServer, variant: str) -> list[RealAnswer]:
    """The answer to every prompt. As many are asked at a time as the server has slots."""
    free = asyncio.Semaphore(_SLOTS)

    async def one(prompt: RealPrompt) -> RealAnswer | None:
        body = {"messages": prompt.messages, "max_tokens": _MAX_TOKENS[prompt.category]}
        async with free:
            answer = await http.post(f"{server.api_base}/chat/completions", json=body)
        if answer.status_code != httpx.codes.OK:
            return None  # too long for the context
        choice = answer.json()["choices"][0]
        text = choice["message"].get("content") or ""
        return RealAnswer(variant, prompt.id, prompt.half, prompt.category, choice["finish_reason"], text)

    async with httpx.AsyncClient(timeout=600) as http:
        return [found for found in await asyncio.gather(*map(one, read_prompts())) if found is not None]


def main() -> None:
    """Asks every variant and writes what it answers."""
    with Path(sys.argv[1]).open("wb") as out:
        for variant in VARIANTS:
            with running_servers([variant.deployment]) as (server,):
                for found in asyncio.run(ask(server, variant.name)):
                    out.write(msgspec.json.encode(found) + b"\n")
            print(variant.name, flush=True)


if __name__ == "__main__":
    main()
