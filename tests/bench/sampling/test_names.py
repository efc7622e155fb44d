"""The extra `names` finds people's names, if it is installed."""

from __future__ import annotations

import pytest

from slo_bench.errors import SampleError
from slo_bench.sampling.scrub import NAMES, Scrubber, load


@pytest.mark.slow  # in an environment that has the extra: its model is no part of the development one
def test_names_become_placeholders_and_ordinary_words_stay() -> None:
    missing = "the extra `names` is not installed"
    names = pytest.importorskip("slo_bench.sampling.names", reason=missing, exc_type=ImportError)
    scrubber = Scrubber([load(NAMES)])
    assert scrubber.text("Please write to Jane Doe about Redis 7.") == "Please write to <NAME_1> about Redis 7."
    sentence = "The server was slow today. "
    filler = sentence * (names.CHUNK_CHARS // len(sentence)) + "." * (names.CHUNK_CHARS % len(sentence))
    text = filler[len("I am Angela ") :] + "I am Angela Merkel today."  # her name lies across two chunks
    assert [text[start:end] for start, end, _ in names.find_names(text)][-1] == "Angela Merkel"


def test_without_the_extra_the_error_says_what_to_install() -> None:
    try:
        import spacy  # noqa: F401, PLC0415
    except ImportError:
        with pytest.raises(SampleError, match=r"install litellm-slo-router\[names\]"):
            load(NAMES)
