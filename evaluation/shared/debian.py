"""Finds programs that a study or a test needs, or installs their Debian packages, one process at a time.

`apt-get update` fails while another one runs. So all processes that install something here wait for each other, and
try again if another program runs apt-get.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
TIMEOUT_S = 600.0  # downloads included
LOCK = Path(tempfile.gettempdir()) / "slo-router-debian.lock"
UPDATE = """
export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3 4 5 6; do apt-get update && break; sleep 5; done
"""
INSTALL = "apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120"
SHOWN_CHARACTERS = 1_500


class UnavailableError(Exception):
    """A program is missing on this machine and cannot be installed. The message names it."""


def found_or_installed(
    find: Callable[[], Found | None],
    script: str,
    needed: str,
    *,
    directory: Path | None = None,
    as_root: bool = True,
) -> Found:
    """What `find` finds. If it finds nothing, first runs the shell commands `UPDATE` and `script` in `directory`.

    Raises:
        UnavailableError: `find` still finds nothing. `needed` says what to install.
    """
    found, said = find(), ""
    if found is None and shutil.which("apt-get") and (os.geteuid() == 0 or not as_root):
        with _alone():
            found = find()  # another process may have installed it meanwhile
            if found is None:
                said = _run(UPDATE + script, directory)
                found = find()
    if found is None:
        raise UnavailableError(f"install {needed}" + (f"; to install it here ended with:\n{said}" if said else ""))
    return found


@contextmanager
def _alone() -> Iterator[None]:
    handle = os.open(LOCK, os.O_RDONLY | os.O_CREAT, 0o644)  # the lock ends with the process, however it ends
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(script: str, directory: Path | None) -> str:
    """The end of the script's output. It goes to a file: a server that the script starts would keep a pipe open."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            subprocess.run(
                ["sh", "-c", script], cwd=directory, stdout=output, stderr=output, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        output.seek(0)
        return output.read()[-SHOWN_CHARACTERS:]
