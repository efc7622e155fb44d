"""Checks the LiteLLM that is installed here, for the command line.

The command line works without LiteLLM and starts in a second. LiteLLM's import takes several seconds, and prints. So a
separate process imports it, and only on request.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

TIMEOUT_S = 300.0  # an import from a cold disk, on a busy machine
LOOK = (
    "import json, slo_router.gateway.seams as a;"
    "print(json.dumps([a.version(), a.shortcomings(), a.untried(), a.unasked()]))"
)


class LookedAt(NamedTuple):
    """One line each. `broken`: why the plugin can't route on this LiteLLM. `said`: what could not be checked."""

    broken: list[str]
    said: list[str]


def look_at_litellm(router_settings: Mapping[str, object]) -> LookedAt:
    """Whether the plugin can route on the installed LiteLLM with these settings of its router."""
    if importlib.util.find_spec("litellm") is None:
        return LookedAt(
            [], ["LiteLLM is not installed here: whether the plugin runs on the proxy's version was not checked"]
        )
    version, broken, said, unasked = _look()
    strategy = router_settings.get("routing_strategy")
    if strategy in unasked:
        asks_nobody = f"router_settings.routing_strategy: {strategy!r} of LiteLLM {version} asks no plugin: it routes"
        broken = [*broken, asks_nobody]
    return LookedAt(broken, said)


@functools.cache
def _look() -> tuple[str, list[str], list[str], list[str]]:
    """LiteLLM's version, what it lacks, what was not tried, and its strategies that ask no plugin."""
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": ""}
    try:
        done = subprocess.run(  # noqa: S603  # this very interpreter
            [sys.executable, "-c", LOOK],
            env={**os.environ, **quiet},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no message"]
        return "", [f"the plugin cannot be imported beside the installed LiteLLM: {last[0]}"], [], []
    except subprocess.TimeoutExpired:
        return "", [], [f"LiteLLM's import took more than {TIMEOUT_S:g} s: it was not looked at"], []
    version, broken, said, unasked = json.loads(done.stdout.splitlines()[-1])
    return version, broken, said, unasked
