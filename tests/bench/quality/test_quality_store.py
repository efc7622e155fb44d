"""Kept answers are private and found again, and never answer another question."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from slo_bench.errors import AnswerStoreError
from slo_bench.prompts.workload import Prompt
from slo_bench.quality.answers import KEPT_S, Question, Reply, answer_key, clear_store, default_path, open_store

ANSWER = Reply("größer 🙂", 1_000.0, "stop", 5, None)


def question(text: str = "q", max_tokens: int = 8, **parameters: object) -> Question:
    return Question(Prompt("ner", ({"role": "user", "content": text},), max_tokens), parameters)


def test_an_answer_is_found_again_until_it_is_too_old(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.sqlite"
    with open_store(path, 1_000.0) as store:
        store.put("k", ANSWER)
        store.put("other", Reply("x", 2.0))
    with open_store(path, 2_000.0) as store:
        assert store.get("k", 1_000.0) == ANSWER
        assert store.get("k", 1_000.1) is None
        assert store.get("unknown", 0) is None
        store.put("k", Reply("new", 1_999.0))
        assert store.get("k", 1_500.0) == Reply("new", 1_999.0)
    with open_store(path, KEPT_S + 100) as store:
        assert store.get("other", 0) is None  # deleted for its age
        assert store.get("k", 0) is not None


def test_the_file_is_its_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "answers.sqlite"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)
    with open_store(path, 0) as store:
        store.put("k", ANSWER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert clear_store(path)
    assert not clear_store(path)


def test_the_default_is_in_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "slo-bench" / "answers.sqlite"


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be one" * 10)
    with pytest.raises(AnswerStoreError, match=r"notes\.txt"), open_store(path, 0):
        pass
    with pytest.raises(AnswerStoreError, match="or --no-cache"), open_store(path / "below", 0):
        pass


def test_an_answer_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with open_store(path, 0) as store:
        store.put("half", Reply("\ud83d", 1.0))
        assert store.get("half", 0) is None
        path.write_bytes(b"overwritten by something else" * 1_000)
        store.put("k", ANSWER)
        assert store.get("k", 0) is None
    assert store.fault is not None


def test_a_key_changes_with_everything_that_decides_the_answer_and_with_nothing_else() -> None:
    key = answer_key("a", "m", question())
    assert key == answer_key("a", "m", question())
    others = [
        answer_key("b", "m", question()),
        answer_key("a", "n", question()),
        answer_key("a", "m", question("r")),
        answer_key("a", "m", question(max_tokens=9)),
        answer_key("a", "m", question(temperature=1)),
        answer_key("a", "m", question(), {"reasoning_effort": "low"}),
    ]
    assert len({key, *others}) == 7
    assert key == answer_key("a", "m", question(), {})
    assert key == answer_key("a", "m", Question(Prompt("chat", question().prompt.messages, 8)))


def test_an_answer_stays_out_of_representations() -> None:
    assert "größer" not in repr(ANSWER)
