"""Every name in Redis. `key_prefix` of the settings stands before each of them.

name                                              what it is    who writes it
metrics:{deployment}:{category}                   hash          the agent, or any other program
slo_router:requests                               stream        each worker: one record per request
slo_router:requests:ids                           sorted set    each worker: request id → ms of its record's id
slo_router:live:{worker}                          string        that worker alone, as JSON; it expires
slo_router:workers                                set           each worker: its own name, and takes dead ones out
slo_router:bell                                   stream        each worker: there is news that the others want at once
slo_router:scraper                                string        the worker that asks the model servers; it expires
slo_router:off                                    set           the operator: groups that LiteLLM routes by itself
slo_router:policies                               list          the operator: JSON, the newest first

slo_bench:lock:{hash of address and model}        string        the agent that measures the endpoint; it expires
slo_bench:pace                                    hash          the agent: what a request of each cell took
slo_bench:unfinished:{plan}                       hash          the agent: the cells that are done; it expires
slo_bench:history                                 set           the agent: which of the next streams there are
slo_bench:history:{kind}:{deployment}:{category}  stream        the agent: one entry per run
slo_bench:alerts                                  stream        the agent: what got worse
"""

from __future__ import annotations

REQUESTS_STREAM = "slo_router:requests"
LIVE_KEY = "slo_router:live:"
WORKERS_KEY = "slo_router:workers"
BELL_KEY = "slo_router:bell"
SCRAPER_KEY = "slo_router:scraper"
OFF_KEY = "slo_router:off"
POLICIES_KEY = "slo_router:policies"

LOCK_KEY = "slo_bench:lock:"
PACE_KEY = "slo_bench:pace"
UNFINISHED_KEY = "slo_bench:unfinished:"
HISTORY_KEY = "slo_bench:history"
ALERTS_KEY = "slo_bench:alerts"


def metrics_key(prefix: str, deployment_id: str, category: str) -> str:
    """The metrics hash of one deployment in one category."""
    return f"{prefix}metrics:{deployment_id}:{category}"


def request_index_key(stream: str) -> str:
    """The index of a stream of records."""
    return f"{stream}:ids"


def history_key(prefix: str, kind: str, deployment_id: str, category: str) -> str:
    """The stream of one kind of run of one deployment in one category."""
    return f"{prefix}{HISTORY_KEY}:{kind}:{deployment_id}:{category}"
