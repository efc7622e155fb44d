"""The longest time for which the plugin holds a worker's event loop: 100 deployments, 32 workers, a real Valkey.

    python -m evaluation.overhead.loop_hold [--repeats 3] [--seconds 20] [--deployments 100] [--workers 32]
                                             [--other CHECKOUT]

Beside the measured worker (`worker`), the other workers publish their pictures of every deployment each second
(`peers`), and each deployment reports its load. `--other` takes turns with the plugin of another checkout, to compare
two versions on the same machine at the same time. The study measures the CPU time of a step, not its wall time. So
other work on the machine makes a step longer only through the caches.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.console import Console
from rich.table import Table

from evaluation.overhead.loop_hold.worker import BAR_MS, OF_THOSE, REQUESTS_PER_S
from evaluation.overhead.loop_hold.world import publish
from evaluation.shared.results import Aim, Save, Spread, conclude
from slo_router.contract.redis import embedded

ROOT = Path(__file__).parents[3]
THIS, OTHER = "this", "other"
TIMEOUT_S = 600.0


def paths_of(checkout: Path) -> dict[str, str]:
    """An environment with the plugin of `checkout` and the study of this checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (checkout / "plugin", checkout / "benchmark", ROOT)))}


def measure(checkout: Path, url: str, load_url: str, sizes: Sequence[int], seconds: float) -> Mapping[str, object]:
    """The figures of one new worker of a checkout."""
    deployments, workers = sizes
    with tempfile.TemporaryDirectory(prefix="slo-") as directory:
        (Path(directory) / "multiproc").mkdir()
        environment = paths_of(checkout) | {"PROMETHEUS_MULTIPROC_DIR": f"{directory}/multiproc"}
        arguments = [url, load_url, str(deployments), str(workers - 1), str(seconds), directory]
        command = [sys.executable, "-m", "evaluation.overhead.loop_hold.worker", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=directory, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S
        )
    found: Mapping[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(console: Console, of: Mapping[str, list[Mapping[str, object]]]) -> dict[str, dict[str, Spread]]:
    """Prints a table for each checkout. Returns the longest step and the CPU of each checkout."""
    found = {}
    for checkout, repeats in of.items():
        table = Table(
            *("whose step", "longest, ms", "CPU, ms a second", f"steps over {BAR_MS:g} ms", "steps"), title=checkout
        )
        rows = [one["by"] for one in repeats]
        named = {name for row in rows for name in row}  # type: ignore[attr-defined]

        def values(name: str, at: int, rows: Sequence[object] = rows) -> list[float]:
            return [row.get(name, [0, 0, 0, 0])[at] for row in rows]  # type: ignore[attr-defined]

        for name in sorted(named, key=lambda name: -max(values(name, 0)))[:14]:
            table.add_row(name, *(Spread.of(values(name, at)).text(1) for at in range(4)))
        console.print(table)
        whole = [max(one[0] for one in row.values()) for row in rows]  # type: ignore[attr-defined]
        cpu = [sum(one[1] for name, one in row.items() if not name.startswith(OF_THOSE)) for row in rows]  # type: ignore[attr-defined]
        found[checkout] = {"longest_ms": Spread.of(whole), "cpu_ms_per_s": Spread.of(cpu)}
        longest, spent = (one.text(1) for one in found[checkout].values())
        console.print(f"{checkout}: longest step {longest} ms, {spent} ms of CPU a second in the background")
    return found


def main(
    repeats: Annotated[int, typer.Option(help="Fresh workers.", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="How long each is watched.")] = 20.0,
    deployments: Annotated[int, typer.Option(help="Managed deployments.")] = 100,
    workers: Annotated[int, typer.Option(help="Workers that share one Redis, the measured one included.")] = 32,
    other: Annotated[Path | None, typer.Option(help="Another checkout, for a before and after.")] = None,
    *,
    is_saved: Save = False,
) -> None:
    """The longest time that any step of the plugin holds a worker's event loop."""
    console = Console(width=150)
    checkouts = {THIS: ROOT} | ({} if other is None else {OTHER: other})
    found: dict[str, list[Mapping[str, object]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory(prefix="slo-") as home:
        url = embedded.ensure_running(Path(home))
        try:
            with redis.Redis.from_url(url) as client:
                publish(client, deployments)
            arguments = [url, str(deployments), str(workers - 1)]
            command = [sys.executable, "-m", "evaluation.overhead.loop_hold.peers", *arguments]
            peers = subprocess.Popen(command, env=paths_of(ROOT), stdout=subprocess.PIPE, text=True)
            try:
                assert peers.stdout is not None  # noqa: S101  # it is a pipe
                load_url = peers.stdout.readline().strip()
                for number in range(repeats):
                    for name, checkout in checkouts.items():
                        found[name].append(measure(checkout, url, load_url, (deployments, workers), seconds))
                        console.print(f"{name}, repeat {number + 1} of {repeats}: done")
            finally:
                peers.kill()
                peers.wait()
        finally:
            embedded.stop(Path(home))
    shown = show(console, found)
    console.print(f"{deployments} deployments, {workers} workers; median (lowest–highest) of {repeats} fresh workers")
    world = {"deployments": deployments, "workers": workers, "requests_per_s": REQUESTS_PER_S, "seconds": seconds}
    aim = Aim.at_most(BAR_MS, "longest step", shown[THIS]["longest_ms"].value, 1, " ms")
    form = "" if (deployments, workers) == (100, 32) else f"{deployments} deployments, {workers} workers"
    if not conclude({**world, OTHER: None, **shown}, [aim], form=form, is_saved=is_saved):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
