"""Starts what a team would run (Valkey, the stock proxy with the plugin, the benchmark) and stops all of it.

One directory holds everything: the configuration as a team would write it, the keys and the logs. The ExitStack of the
demo stops all that was started, however the demo ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from evaluation.demo.endpoints import Endpoint
from evaluation.demo.errors import DemoError
from evaluation.demo.scenario import GROUP, VirtualKey, group_settings
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.keys import REQUESTS_STREAM, metrics_key
from slo_router.contract.metrics_hash import read_metrics
from slo_router.contract.model import Metrics
from slo_router.contract.record import RequestRecord
from slo_router.contract.redis import embedded
from slo_router.contract.redis.link import connect_blocking

WORKERS = 2
REFRESH_S = 1.0
RECORDS_WITHIN_S = 10.0


class Stack:
    """The running parts. The path `directory` must be short, because the embedded server's socket lies in it."""

    def __init__(self, directory: Path, endpoints: Sequence[Endpoint], stack: ExitStack) -> None:
        self.directory = directory
        self._home = directory / "valkey"
        self._environment = {embedded.DIRECTORY_VARIABLE: str(self._home)}
        stack.callback(shutil.rmtree, self._home, ignore_errors=True)
        stack.callback(embedded.stop, self._home)
        self.redis = stack.enter_context(connect_blocking(embedded.ensure_running(self._home)))
        self.proxy = StockProxy(
            document(endpoints, directory), directory, workers=WORKERS, environment=self._environment
        )
        self._stack = stack

    @property
    def setting(self) -> str:
        """The environment variables that make `redis_url: embedded` this stack's server, as a shell takes them."""
        return shlex.join(f"{name}={value}" for name, value in self._environment.items())

    def start_proxy(self) -> None:
        """Starts the stock proxy and waits until it answers. Raises RuntimeError with the end of its log."""
        shutil.copy(Path(__file__).with_name("custom_auth.py"), self.directory)
        self._stack.callback(self.proxy.stop)  # before the start, because Ctrl-C may interrupt it
        self.proxy.start()

    def issue(self, keys: Sequence[VirtualKey]) -> dict[str, str]:
        """Makes keys that the proxy accepts from the next request on. Returns each key's secret by its alias."""
        secret_of = {key.alias: "sk-" + secrets.token_hex(12) for key in keys}
        table = {
            secret_of[key.alias]: {
                "key_alias": key.alias,
                "team_id": key.team,
                "metadata": dict(key.metadata),
                "team_metadata": dict(key.team_metadata),
            }
            for key in keys
        }
        (self.directory / "keys.json").write_text(json.dumps(table, indent=2), encoding="utf-8")
        return secret_of

    def benchmark(self, *options: str) -> None:
        """Runs `slo-bench` as a user would. Raises DemoError if it measured nothing."""
        tool = str(Path(sys.executable).with_name("slo-bench"))
        command = [tool, "run", "--config", str(self.proxy.config_path), *options]
        environment = {**os.environ, **self._environment, "LITELLM_MASTER_KEY": self.proxy.master_key}
        process = subprocess.Popen(command, env=environment)
        try:
            status = process.wait()
        finally:  # subprocess.run would not wait for the process after Ctrl-C
            process.kill()
            process.wait()
        if status not in (0, 1):
            raise DemoError(f"slo-bench measured nothing; its table says why, {self.proxy.log_path} what the proxy saw")
        time.sleep(2 * REFRESH_S + 0.5)  # until every worker has read the results

    def begin_account(self) -> None:
        """Deletes the records so far, so that warm-up and benchmark requests are in no report."""
        self.redis.delete(REQUESTS_STREAM)

    def report(self) -> Path:
        """Writes an HTML page about the requests so far: their cost and SLO attainment. Raises DemoError."""
        page = self.directory / "report.html"
        tool, config = Path(sys.executable).with_name("slo-router"), str(self.proxy.config_path)
        command = [str(tool), "report", "--config", config, "--html", str(page)]
        finished = subprocess.run(
            command, env={**os.environ, **self._environment}, capture_output=True, text=True, check=False
        )
        if finished.returncode:
            raise DemoError(f"slo-router report: {finished.stderr}")
        return page

    def metrics(self, deployment: str, categories: Sequence[str]) -> list[Metrics]:
        """What the benchmark wrote into Redis about a deployment."""
        found = []
        for category in categories:
            metrics, _ = read_metrics(self.redis.hgetall(metrics_key("", deployment, category)), time.time())
            if metrics is not None:
                found.append(metrics)
        return found

    def records(self, request_ids: Sequence[str]) -> list[RequestRecord]:
        """The records of these requests. Waits at most RECORDS_WITHIN_S for the proxy to write them."""
        deadline_s = time.monotonic() + RECORDS_WITHIN_S
        while True:
            entries = self.redis.xrange(REQUESTS_STREAM)
            records = [RequestRecord.model_validate_json(fields["record"]) for _, fields in entries]
            wanted = [record for record in records if record.request_id in request_ids]
            if len(wanted) >= len(request_ids) or time.monotonic() > deadline_s:
                return wanted
            time.sleep(0.2)


def document(endpoints: Sequence[Endpoint], directory: Path) -> dict[str, object]:
    """The proxy's whole configuration. Apart from the keys it is what a team would write."""
    return {
        "model_list": [endpoint.entry(GROUP) for endpoint in endpoints],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {
            "slo_router": {
                "redis_url": "embedded",
                "refresh_interval_s": REFRESH_S,
                "groups": {GROUP: group_settings(endpoints)},
                "log": {"jsonl_path": str(directory / "requests.jsonl")},
            }
        },
        "general_settings": {
            "master_key": "os.environ/LITELLM_MASTER_KEY",
            "custom_auth": "custom_auth.user_api_key_auth",
        },
    }
