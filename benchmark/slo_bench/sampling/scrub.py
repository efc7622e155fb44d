"""Removes private data from a prompt before it is stored: from every text, also from arguments of tool calls.

A finding becomes a placeholder of its kind, such as `<EMAIL_1>`. In one prompt, the same text gets the same
placeholder. Numbers start again in each prompt, so that nothing links two requests. Overlapping findings are replaced
together.

Roles, types, ids and function names stay unchanged. In arguments and schemas everything is scrubbed, also numbers and
keys. Arguments are JSON in a text, and are parsed first.

Finders are the built-in rules by name, and the user's own functions. A user's module may be in the current directory,
which is searched last.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module

import msgspec

from slo_bench.errors import SampleError
from slo_bench.sampling import rules
from slo_bench.sampling.candidate import Candidate, Message
from slo_bench.sampling.rules import Finder, Finding

_PROTOCOL = frozenset({"role", "type", "id", "tool_call_id", "name"})
_SCHEMAS = frozenset({"parameters", "schema"})
_KIND = re.compile(r"[A-Z][A-Z0-9_]{0,30}")


def scrub(candidate: Candidate, finders: Sequence[Finder]) -> tuple[Candidate, Counter[str]]:
    """The candidate without what the finders find, and how often each kind was replaced. Raises SampleError."""
    scrubber = Scrubber(finders)
    messages = msgspec.to_builtins(candidate.messages)
    clean = msgspec.structs.replace(
        candidate,
        messages=msgspec.convert(scrubber.structure(messages), list[Message]),
        tools=scrubber.structure(candidate.tools),
        response_format=scrubber.structure(candidate.response_format),
    )
    return clean, scrubber.replaced


class Scrubber:
    """The scrubber of one prompt, with its placeholders."""

    def __init__(self, finders: Sequence[Finder]) -> None:
        self._finders = finders
        self._placeholders: dict[tuple[str, str], str] = {}
        self._numbers: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()

    def structure(self, value: object) -> object:
        """Scrubs a message, a tool or a list of them."""
        if isinstance(value, Mapping):
            return {key: self._field(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.structure(inner) for inner in value]
        return self._scalar(value)

    def _field(self, key: str, value: object) -> object:
        if key in _PROTOCOL:
            return value
        if key in _SCHEMAS:
            return self._data(value)
        return self._arguments(value) if key == "arguments" else self.structure(value)

    def _arguments(self, value: object) -> object:
        try:
            parsed = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):  # no JSON, or nested too deep
            return self.structure(value)
        clean = self._data(parsed)
        if clean == parsed:
            return value
        if not isinstance(value, str):
            return clean
        return json.dumps(clean, ensure_ascii=False).encode(errors="backslashreplace").decode()  # half a surrogate pair

    def _data(self, value: object) -> object:
        """Scrubs a value whose keys are not names of the protocol."""
        if isinstance(value, Mapping):
            return {self.text(key): self._data(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._data(inner) for inner in value]
        return self._scalar(value)

    def _scalar(self, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            digits = str(value)
            clean = self.text(digits)
            return value if clean == digits else clean
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """Scrubs one text. Returns the same object where nothing was found."""
        pieces: list[str] = []
        end = 0
        for start, stop, kind in _merged([one for find in self._finders for one in _checked(find, text)]):
            pieces += text[end:start], self._placeholder(kind, text[start:stop])
            end = stop
        return "".join([*pieces, text[end:]]) if pieces else text

    def _placeholder(self, kind: str, found: str) -> str:
        self.replaced[kind] += 1
        name = self._placeholders.get((kind, found))
        if name is None:
            self._numbers[kind] += 1
            name = self._placeholders[kind, found] = f"<{kind}_{self._numbers[kind]}>"
        return name


def _checked(find: Finder, text: str) -> list[Finding]:
    """A finder's findings, checked, for users write finders too. Raises SampleError for a malformed one."""
    found = list(find(text))
    for start, end, kind in found:
        if not (0 <= start < end <= len(text) and _KIND.fullmatch(kind)):
            name = getattr(find, "__qualname__", type(find).__name__)
            raise SampleError(
                f"scrubber {name}: ({start}, {end}, {kind!r}) in a text of {len(text)} characters, expected start < "
                "end within the text and a kind of capital letters"
            )
    return found


def _merged(found: list[Finding]) -> list[Finding]:
    """The findings in the order of the text. Overlapping ones become one, of the kind whose finder comes first."""
    merged: list[tuple[int, int, int]] = []
    for rank, (start, end, _) in sorted(enumerate(found), key=lambda one: one[1][:2]):
        if merged and start < merged[-1][1]:
            first, last, best = merged[-1]
            merged[-1] = (first, max(last, end), min(best, rank))
        else:
            merged.append((start, end, rank))
    return [(start, end, found[rank][2]) for start, end, rank in merged]


RULES = ("key", "email", "iban", "card", "ip", "phone")  # if two find the same text, the first gives the kind
NAMES = "slo_bench.sampling.names:find_names"
_FINDERS: Mapping[str, Finder] = {
    "key": rules.keys,
    "email": rules.emails,
    "iban": rules.ibans,
    "card": rules.cards,
    "ip": rules.addresses,
}


def built_in(names: Sequence[str], regions: Sequence[str]) -> list[Finder]:
    """The rules of these names; `regions` are those of telephone numbers. Raises SampleError for an unknown one."""
    for name in names:
        if name not in RULES:
            raise SampleError(f"--rules: {name!r}, expected some of {', '.join(RULES)}")
    for region in regions:
        if region not in rules.REGIONS:
            raise SampleError(f"--phone-regions: {region!r}, expected two capital letters of a country, such as US")
    return [_FINDERS.get(name) or rules.phones(regions) for name in RULES if name in names]


def load(path: str) -> Finder:
    """The function that `module:callable` names. Raises SampleError where there is none."""
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.append("")
    try:
        finder = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "; install litellm-slo-router[names]" if path == NAMES else ""
        raise SampleError(f"--scrubber: {path!r}: {error}, expected module:callable{hint}") from error
    if not callable(finder):
        raise SampleError(f"--scrubber: {path!r} is no function, expected one from a text to (start, end, kind)")
    found: Finder = finder
    return found
