"""Which managed group an entry of `model_list` is in, and under which id LiteLLM has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping

from slo_router.contract.settings.environment import as_litellm_reads


def group_of(entry: Mapping[str, object], groups: Container[str]) -> str | None:
    """The managed group that an entry is in, `None` for none; a team's model is in the one that its team calls."""
    info = entry.get("model_info")
    public = info.get("team_public_model_name") if isinstance(info, Mapping) else None
    for name in (entry.get("model_name"), public):
        if isinstance(name, str) and name in groups:
            return str(name)
    return None


def generated_id(group: str, params: Mapping[str, object]) -> str:
    """The id that LiteLLM gives a deployment without one: the same at every start, until a parameter changes.

    LiteLLM's own function would cost the command line six seconds of import; a test holds both against each other.
    """
    parts = [group]
    for name, given in params.items():
        value = as_litellm_reads(given)
        if not isinstance(value, str):
            value = json.dumps(value) if isinstance(value, dict) else str(value)
        parts += [name, value]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def id_of(entry: Mapping[str, object], path: str, faults: list[str]) -> str:
    """The id that is given, else LiteLLM's. An empty one is a fault: LiteLLM makes another for it at every start."""
    info, params = entry.get("model_info"), entry.get("litellm_params")
    if not isinstance(info, Mapping) or "id" not in info:
        return generated_id(str(entry.get("model_name")), params if isinstance(params, Mapping) else {})
    given = info["id"]
    if given is None or given == "" or str(given).startswith("os.environ/"):
        shown = "empty" if given in (None, "") else repr(given)
        faults.append(
            f"{path}.model_info.id: {shown}, expected a name, or no such line: LiteLLM then makes one that lasts"
        )
    return str(given)
