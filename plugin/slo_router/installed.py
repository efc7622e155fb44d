"""What is wrong with the LiteLLM that is installed here, for the command line.

The command line works without LiteLLM, starts in a second and prints what it wants to print; LiteLLM's import takes
several seconds and prints too. So a process of its own looks at it, and only where somebody asks.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping

TIMEOUT_S = 300.0  # an import from a cold disk, on a busy machine
LOOK = "import json, slo_router.litellm_adapter as a; print(json.dumps([a.version(), a.shortcomings(), a.unasked()]))"


def litellm_notes(router_settings: Mapping[str, object]) -> list[str]:
    """One line for each thing that keeps the plugin from routing on this LiteLLM, or that nobody has tried yet."""
    if importlib.util.find_spec("litellm") is None:
        return ["LiteLLM is not installed here: whether the plugin runs on the proxy's version was not checked"]
    version, notes, unasked = _look()
    strategy = router_settings.get("routing_strategy")
    if strategy in unasked:
        notes = [
            *notes,
            f"router_settings.routing_strategy: {strategy!r} of LiteLLM {version} asks no plugin: it routes",
        ]
    return notes


@functools.cache
def _look() -> tuple[str, list[str], list[str]]:
    """LiteLLM's version, what is wrong with it, and its strategies that pick without asking."""
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
        return "", [f"the plugin cannot be imported beside the installed LiteLLM: {last[0]}"], []
    except subprocess.TimeoutExpired:
        return "", [f"LiteLLM's import took more than {TIMEOUT_S:g} s: it was not looked at"], []
    version, notes, unasked = json.loads(done.stdout.splitlines()[-1])
    return version, notes, unasked
