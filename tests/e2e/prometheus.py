"""A real Prometheus, so that tests try dashboards and alerts on the program that will read them.

Debian's package is unpacked into the environment that runs the tests: an installation would start a system server,
which would stay. Nothing else is left after the `with` block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx
import yaml

from evaluation.shared.debian import found_or_installed
from evaluation.shared.stock_proxy import free_port

UNPACKED = Path(sys.prefix) / "debian-prometheus"
START_TIMEOUT_S = 120.0
DOWNLOAD = "apt-get -o APT::Sandbox::User=root download prometheus && dpkg-deb -x prometheus_*.deb unpacked"


def program(name: str) -> str:
    """`prometheus` or `promtool`: on the PATH, or unpacked from Debian's package.

    Raises:
        UnavailableError: it is not on the PATH, and no Debian package can be downloaded.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="slo-prometheus-", dir=sys.prefix) as directory:
        unpack = f"{DOWNLOAD} && mv --no-target-directory unpacked {UNPACKED}"
        return found_or_installed(
            lambda: shutil.which(name, path=str(UNPACKED / "usr" / "bin")),
            unpack,
            "Prometheus, or what unpacks it from Debian's package (apt-get and dpkg-deb)",
            directory=Path(directory),
            as_root=False,
        )


class Prometheus:
    """One server on a loopback port. `configuration` is its whole YAML."""

    def __init__(self, configuration: Mapping[str, object], directory: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log_path = directory / "prometheus.log"
        self._configuration_path = directory / "prometheus.yml"
        self._configuration_path.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [program("prometheus"), f"--config.file={self._configuration_path}"]
        command += [f"--storage.tsdb.path={self._data}", f"--web.listen-address={self.url.removeprefix('http://')}"]
        with self._log_path.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={"PATH": os.defpath})
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError(f"Prometheus did not start:\n{self._log_path.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an instant query returns: labels and value. Raises httpx errors if the expression is not PromQL."""
        answer = self.get("query", query=expression)
        result = answer["result"]
        assert isinstance(result, list)
        return [(one["metric"], float(one["value"][1])) for one in result]

    def get(self, what: str, **parameters: str) -> dict[str, object]:
        """The data of one call of Prometheus' HTTP interface."""
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=60)
        answer.raise_for_status()
        data: dict[str, object] = answer.json()["data"]
        return data

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False
