"""An engine's load in the Prometheus names of vLLM (vllm/v1/metrics/loggers.py), which routers and dashboards read."""

from .engine import Engine


def render(engine: Engine) -> str:
    """The text exposition of one endpoint."""
    spec = engine.spec
    kv_usage = min(1.0, engine.kv_tokens / (spec.slots * spec.context_tokens))
    families: list[tuple[str, str, str, float]] = [
        ("num_requests_running", "gauge", "Requests in the batch.", engine.running),
        ("num_requests_waiting", "gauge", "Requests in the queue.", engine.waiting),
        ("kv_cache_usage_perc", "gauge", "KV-cache usage, 1 is full.", kv_usage),
        ("gpu_cache_usage_perc", "gauge", "KV-cache usage, 1 is full (the name before vLLM 0.10).", kv_usage),
        ("prompt_tokens_total", "counter", "Prefill tokens processed.", engine.prompt_tokens_total),
        ("generation_tokens_total", "counter", "Generation tokens processed.", engine.generation_tokens_total),
        ("request_success_total", "counter", "Requests that were finished.", engine.finished_total),
    ]
    label = spec.name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return "".join(
        f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\n"
        f'vllm:{name}{{engine="0",model_name="{label}"}} {float(value)}\n'
        for name, kind, text, value in families
    )
