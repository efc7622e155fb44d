"""Makes a line for crontab or a Kubernetes CronJob, to run the agent at fixed times. It installs nothing.

The agent's own lock keeps two runs apart. The CronJob also skips a run while the last one goes on, and does not start
late. Kubernetes ends a job GRACE_S seconds after the agent should have ended. The job runs as an unprivileged user with
a read-only file system.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from slo_bench.errors import BenchError
from slo_router.contract.settings.environment import variables_in

Manifest: TypeAlias = dict[str, object]

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
NOBODY = 65_534
GRACE_S = 600  # from --max-minutes until Kubernetes ends the job; and the most that a job may start late
LABELS = {"app.kubernetes.io/name": "benchmark"}
CONFIG_PATH = "/etc/litellm/config.yaml"


class Job(NamedTuple):
    """The job to run. `secrets` are the environment variables that it takes from the Secret."""

    cron: str
    arguments: Sequence[str]
    max_minutes: float
    image: str = "litellm-slo-router"
    secret: str = "slo-router"  # noqa: S105  # the name of the Secret
    config_map: str = "litellm-config"
    secrets: Sequence[str] = ()


def check_cron(cron: str) -> str:
    """The expression with single spaces. Raises BenchError for one that cron and Kubernetes would refuse."""
    parts = cron.split()
    if len(parts) != len(FIELDS):
        raise BenchError(f"--cron: {cron!r}, expected five fields: minute hour day-of-month month day-of-week")
    for text, (name, low, high) in zip(parts, FIELDS, strict=True):
        if not all(_is_range(item, low, high) for item in text.split(",")):
            raise BenchError(
                f"--cron: {text!r} as {name}, expected *, {low}-{high}, lists, ranges or steps such as */6"
            )
    return " ".join(parts)


def crontab_line(job: Job, program: str, directory: str) -> str:
    """One line for `crontab -e`, run in `directory`. Percent signs are escaped, for one would end the command."""
    command = shlex.join([program, *job.arguments])
    line = f"{check_cron(job.cron)} cd {shlex.quote(directory)} && {command} >>slo-bench.log 2>&1"
    return line.replace("%", r"\%")


def cron_job(job: Job) -> Manifest:
    """The CronJob's manifest, for `yaml.safe_dump`."""
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job)],
        "volumes": [
            {"name": "config", "configMap": {"name": job.config_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": round(job.max_minutes * 60) + GRACE_S,
        "template": {"metadata": {"labels": dict(LABELS)}, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "benchmark", "labels": dict(LABELS)},
        "spec": {
            "schedule": check_cron(job.cron),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": GRACE_S,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 4,
            "jobTemplate": {"spec": spec},
        },
    }


def variables_of(document: Mapping[str, object], *, via_proxy: bool) -> list[str]:
    """The environment variables that the agent needs with a proxy configuration (its `os.environ/NAME`).

    Through the proxy the agent needs the proxy's key, else the deployments' addresses and keys. If a deployment has no
    id, the agent needs all its variables, for LiteLLM makes the id from the parameters. Without a `redis_url` it needs
    the variables of LiteLLM's own Redis.
    """
    found = ["LITELLM_MASTER_KEY"] if via_proxy else []
    settings = _get(document.get("callback_settings"), "slo_router")
    groups = _get(settings, "groups")
    for entry in _list(document.get("model_list")):
        params, info = _get(entry, "litellm_params"), _get(entry, "model_info")
        is_managed = isinstance(groups, Mapping) and _get(entry, "model_name") in groups
        if is_managed and _get(info, "id") is None:
            found += variables_in(params)
        elif not via_proxy:
            found += _named(params, ("api_base", "api_key"))
        found += variables_in(info) if is_managed else []
    found += variables_in(settings)
    if _get(settings, "redis_url") is None:
        found += variables_in(_get(document.get("litellm_settings"), "cache_params"))
        router = document.get("router_settings")
        names = [str(name) for name in router] if isinstance(router, Mapping) else []
        found += _named(router, [name for name in names if name.startswith("redis_")])
    return list(dict.fromkeys(found))


def _container(job: Job) -> Manifest:
    secrets = [{"name": name, "valueFrom": {"secretKeyRef": {"name": job.secret, "key": name}}} for name in job.secrets]
    return {
        "name": "benchmark",
        "image": job.image,
        "command": ["slo-bench"],
        "args": list(job.arguments),
        "env": [*secrets, {"name": "HOME", "value": "/tmp"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],  # noqa: S108
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_PATH.rpartition("/")[0], "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _is_range(item: str, low: int, high: int) -> bool:
    match = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?", item)
    if match is None:
        return False
    first, last = match[1], match[2]
    return first is None or low <= int(first) <= int(last or first) <= high


def _named(section: object, keys: Sequence[str]) -> list[str]:
    values = [_get(section, key) for key in keys]
    return [value.removeprefix("os.environ/") for value in values if isinstance(value, str) and "os.environ/" in value]


def _get(section: object, key: str) -> object:
    return section.get(key) if isinstance(section, Mapping) else None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
