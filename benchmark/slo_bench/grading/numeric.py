r"""Finds the number that an answer gives, inside any text.

The order of search: the last `\boxed{…}`, the text after the last `####`, the last number of the text. The first two
mark the answer, so a fraction in them is divided: `\boxed{\frac{3}{4}}` and `#### 3/4` are 0.75.

Thousands may be separated by a comma, an apostrophe, an underscore or a no-break space. A comma is never a decimal
point: `3,14` is two numbers. A minus is a sign only directly before its number and not after a digit or letter:
`10-12` ends in 12, `5 - 3` in 3. Currencies, units and percent signs are ignored: `50 %` is 50.
"""

from __future__ import annotations

import math
import re

_SEPARATOR = r"(?:,|\{,\}|\\,|['’_\u00a0\u202f\u2009])"
_NUMBER = rf"(?:\d{{1,3}}(?:{_SEPARATOR}\d{{3}})+(?!\d)|\d+)?(?:\.\d+)?(?:(?<=\d)[eE][-+]?\d+)?"
_SIGNED = re.compile(rf"(?:(?<![\w.)])(?P<sign>[-−+]))?[$€£]?(?<![\d.])(?P<number>(?=\.?\d){_NUMBER})")
_FRACTION = re.compile(r"(?P<sign>[-−+])?\s*(?:\\[dt]?frac\{(\d+)\}\{(\d+)\}|(\d+)\s*/\s*(\d+))")
_ROUNDING = 1e-9
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


def number_in(answer: str) -> float | None:
    """The number that the answer gives, `None` where there is none. May be infinite: `1e999`."""
    boxed = _BOXED.findall(answer)
    for stated in (boxed[-1] if boxed else "", answer.rpartition("####")[2] if "####" in answer else ""):
        value = _stated(stated)
        if value is not None:
            return value
    return _last(answer)


def same_number(found: float, expected: float, tolerance: float, relative_tolerance: float) -> bool:
    """Within either tolerance; without one, within the rounding of floating point."""
    return math.isclose(
        found, expected, abs_tol=tolerance * (1 + _ROUNDING), rel_tol=max(relative_tolerance, _ROUNDING)
    )


def _stated(text: str) -> float | None:
    """The number in a marked answer: a fraction, else the first number, for a unit such as `m/s2` may follow."""
    fraction = _FRACTION.match(text.strip(" $"))
    if fraction:
        above, below = (float(part) for part in fraction.groups()[1:] if part is not None)
        return _sign(fraction) * above / below if below else None
    first = _SIGNED.search(text)
    return None if first is None else _value(first)


def _last(text: str) -> float | None:
    last = None
    for last in _SIGNED.finditer(text):  # noqa: B007  # the last one is what is wanted
        pass
    return None if last is None else _value(last)


def _value(match: re.Match[str]) -> float:
    return _sign(match) * float(re.sub(_SEPARATOR, "", match["number"]))


def _sign(match: re.Match[str]) -> int:
    return -1 if match["sign"] in {"-", "−"} else 1
