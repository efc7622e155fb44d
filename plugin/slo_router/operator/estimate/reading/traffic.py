"""Opens the sources that the command names, and passes on the rows that its options select."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slo_router.contract.ages import DAY_S
from slo_router.errors import SettingsError
from slo_router.operator.estimate.reading.database import Period, database_rows, is_database
from slo_router.operator.estimate.reading.files import file_rows
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.reading.spend_logs import Categorize
from slo_router.operator.reporting.journal import age_s

DATABASE_DAYS = 30  # read of a database, where no option says how many
_FOREVER_S = 4e9  # Unix seconds


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows count, as the options say."""

    since: str | None = None
    until: str | None = None
    group: str | None = None
    key: str | None = None
    most: int | None = None


class Traffic:
    """The rows of some sources. `read`, `broken` and `left_out` count them as they pass."""

    def __init__(self, sources: Sequence[str], selection: Selection, categorize: Categorize | None = None) -> None:
        now_s = time.time()
        self._sources, self._categorize = sources, categorize
        self._group, self._key, self._most = selection.group, selection.key, selection.most
        self._since_s = None if selection.since is None else at_s("since", selection.since, now_s)
        self._until_s = _FOREVER_S if selection.until is None else at_s("until", selection.until, now_s)
        self._now_s = now_s
        self.read = self.broken = self.left_out = 0

    @property
    def name(self) -> str:
        """The names of the sources, without anything secret."""
        return ", ".join("LiteLLM's database" if is_database(one) else Path(one).name for one in self._sources)

    def __iter__(self) -> Iterator[Row]:
        since_s = 0.0 if self._since_s is None else self._since_s
        taken = 0
        for row in self._rows():
            self.read += 1
            if row is None:
                self.broken += 1
            elif not since_s <= row.at_s < self._until_s or not self._is_asked(row):
                self.left_out += 1
            else:
                yield row
                taken += 1
                if taken == self._most:
                    return

    def _is_asked(self, row: Row) -> bool:
        return self._group in (None, row.group) and self._key in (None, row.key)

    def _rows(self) -> Iterable[Row | None]:
        for source in self._sources:
            if is_database(source):
                since_s = self._now_s - DATABASE_DAYS * DAY_S if self._since_s is None else self._since_s
                most = self._most if self._key is None else None
                yield from database_rows(source, Period(since_s, self._until_s, self._group, most), self._categorize)
            else:
                yield from file_rows(Path(source), self._categorize)


def at_s(name: str, text: str, now_s: float) -> float:
    """`30d`, `12h` before now, or a date or time (UTC) → Unix seconds. Raises SettingsError."""
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now_s - age_s(text)
        except SettingsError:
            raise SettingsError(
                f"{name}: {text!r}, expected an age such as 30d, or a date such as 2026-11-01 (UTC)"
            ) from None
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
