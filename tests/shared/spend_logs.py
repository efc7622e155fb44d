"""Rows of LiteLLM's spend logs (1.108.7, 1.110.2), with the real fields that the plugin's commands read."""

from __future__ import annotations

from typing import Any

SECRET = "the text that must not get out"  # a prompt


def spend_log(*, hour: int = 0, alias: str | None = "app", cached: int = 0, **changes: object) -> dict[str, Any]:
    """One chat of 1,000 prompt and 100 answer tokens on `large-1`, at 5 and 10 USD per million."""
    details: dict[str, object] = {"cached_tokens": cached, "audio_tokens": None, "image_tokens": None}
    row: dict[str, Any] = {
        "request_id": f"chatcmpl-{hour}",
        "call_type": "acompletion",
        "api_key": "814b32b5ebfe69a4a4e1f0d890f33208713efa05290a425b0442c2cf60981d17",
        "spend": 0.006,
        "total_tokens": 1_100,
        "prompt_tokens": 1_000,
        "completion_tokens": 100,
        "startTime": f"2026-11-{1 + hour // 24:02d}T{hour % 24:02d}:00:00.120000Z",
        "endTime": f"2026-11-{1 + hour // 24:02d}T{hour % 24:02d}:00:01.120000Z",
        "model": "openai/large",
        "model_id": "large-1",
        "model_group": "big",
        "cache_hit": "None",
        "session_id": f"session-{hour % 50}",
        "status": "success",
        "messages": [{"role": "user", "content": f"Summarize this in one sentence: {SECRET}"}],
        "response": {},
        "proxy_server_request": {},
    }
    metadata = {
        "user_api_key_alias": alias,
        "status": None,
        "usage_object": {"prompt_tokens_details": details},
        "additional_usage_values": {"cache_read_input_tokens": cached} if cached else {},
        "spend_logs_metadata": None,
        "model_map_information": {"model_map_value": {"input_cost_per_token": 5e-6, "supports_vision": None}},
    }
    return {**row, "metadata": metadata, **changes}
