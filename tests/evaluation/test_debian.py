"""Missing programs are installed, by one process at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluation.shared import debian
from evaluation.shared.debian import UnavailableError, found_or_installed


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder. `apt-get` is replaced by a program that does nothing."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "apt-get"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(debian, "LOCK", tmp_path / "lock")
    return tmp_path


def installed(place: Path, script: str) -> Path:
    """The file `program` in that folder, if need be after running the script."""
    program = place / "program"
    return found_or_installed(
        lambda: program if program.exists() else None, script, "a program", directory=place, as_root=False
    )


def test_of_two_at_once_the_second_waits_and_finds_what_the_first_installed(place: Path) -> None:
    script = "echo once >> runs; sleep 0.2; touch program"
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: installed(place, script), range(2)))
    assert found == [place / "program"] * 2
    assert (place / "runs").read_text(encoding="utf-8") == "once\n"


def test_what_cannot_be_installed_is_named_with_what_the_attempt_said(place: Path) -> None:
    with pytest.raises(UnavailableError, match=r"(?s)^install a program; .*no such package"):
        installed(place, "echo no such package; exit 100")


def test_without_the_means_nothing_is_tried(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(UnavailableError, match=r"^install a program$"):
        installed(place, "touch program")
