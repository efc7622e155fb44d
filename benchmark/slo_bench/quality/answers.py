"""Questions, their answers, and the SQLite file that keeps the answers, so that a killed run continues.

An answer's key is a hash of the deployment's id, its model and the request. It reveals neither prompt nor address. Each
answer is one transaction, and several agents may share the file.

Prompts are not stored. Answers are private: only the user can read the file (mode 0600, in a folder of mode 0700).
Opening the file deletes answers older than `KEPT_S`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from slo_bench.errors import AnswerStoreError
from slo_bench.measure.excuses import Excuse
from slo_bench.prompts.workload import Prompt

NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `parameters`, such as the temperature, are added to the request."""

    prompt: Prompt
    parameters: Mapping[str, object] = field(default_factory=dict)

    def content(self) -> dict[str, object]:
        """Everything in the request's body that affects the answer, except the model."""
        messages = [dict(message) for message in self.prompt.messages]
        return {"messages": messages, "max_tokens": self.prompt.max_tokens, **self.parameters}


@dataclass(frozen=True, slots=True)
class Reply:
    """A deployment's answer at `at_s` (Unix seconds). Token counts are `None` where the server sent none."""

    text: str = field(repr=False)
    at_s: float
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def cut(self) -> bool:
        """Whether the answer ended at its length limit."""
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Failure:
    """A missing answer, with an error class of `stream`. With an `excuse` the deployment is not to blame."""

    error: str
    excuse: Excuse | None = None


def answer_key(deployment_id: str, model: str, question: Question, settings: Mapping[str, object] = NO_SETTINGS) -> str:
    """The key of a kept answer. `settings` are configured fields of the request, such as an effort."""
    parts = [deployment_id, model, question.content(), *([settings] if settings else [])]
    content = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return sha256(content.encode()).hexdigest()


KEPT_S = 30 * 86_400.0
_ELSE = "a folder for kept answers in XDG_CACHE_HOME, or --no-cache"
_WAIT_S = 10.0  # for another agent's write
_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, at_s REAL NOT NULL, text TEXT NOT NULL, finish_reason TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER
) WITHOUT ROWID
"""
_SELECT = """
SELECT text, at_s, finish_reason, prompt_tokens, completion_tokens FROM answers WHERE key = ? AND at_s >= ?
"""


def default_path() -> Path:
    """`slo-bench/answers.sqlite` in the user's cache directory. Raises AnswerStoreError where the user has none."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slo-bench" / "answers.sqlite"
    except RuntimeError as error:
        raise AnswerStoreError(f"no home directory, expected {_ELSE}") from error


class AnswerStore:
    """The kept answers; `open_store` makes one.

    If an answer can't be kept, `fault` tells why, and the run continues with the answer.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.fault: str | None = None

    def get(self, key: str, not_before_s: float) -> Reply | None:
        """The answer under `key`, unless it is from before `not_before_s` (Unix seconds)."""
        try:
            found = self._connection.execute(_SELECT, (key, not_before_s)).fetchone()
        except sqlite3.Error as error:
            self.fault = str(error)
            return None
        return None if found is None else Reply(*found)

    def put(self, key: str, answer: Reply) -> None:
        """Keeps an answer, and replaces an older one."""
        counts = answer.prompt_tokens, answer.completion_tokens
        row = (key, answer.at_s, answer.text, answer.finish_reason, *counts)
        try:
            with self._connection:
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
        except (sqlite3.Error, UnicodeEncodeError) as error:  # UnicodeEncodeError: JSON can hold half a character
            self.fault = str(error)

    def forget(self, before_s: float) -> None:
        """Deletes answers older than `before_s` (Unix seconds)."""
        with self._connection:
            self._connection.execute("DELETE FROM answers WHERE at_s < ?", (before_s,))


@contextmanager
def open_store(path: Path | None, now_s: float) -> Iterator[AnswerStore]:
    """The store in a file, or for `None` one in memory. Raises AnswerStoreError where it can't be opened."""
    if path is not None:
        _make_private(path)
    try:
        with closing(sqlite3.connect(path or ":memory:", timeout=_WAIT_S)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(_TABLE)
            store = AnswerStore(connection)
            store.forget(now_s - KEPT_S)
            yield store
    except sqlite3.Error as error:
        raise AnswerStoreError(f"{path}: {error}, expected a file with kept answers, or none") from error


def clear_store(path: Path) -> bool:
    """Deletes the file. Returns whether there was one. Raises AnswerStoreError."""
    try:
        path.with_name(path.name + "-journal").unlink(missing_ok=True)
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise AnswerStoreError(f"{path}: {error.strerror}, expected a file that can be deleted") from error
    return True


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
    except OSError as error:
        raise AnswerStoreError(f"{path}: {error.strerror}, expected a file that can be written: {_ELSE}") from error
