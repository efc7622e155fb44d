"""The demo's virtual keys, through LiteLLM's own `general_settings.custom_auth` hook; copied beside the configuration.

With a database, `/key/generate` and `/team/new` take the same metadata and this file is not needed. The hook reads the
keys for each request, so that a new key counts at once, as with a database.
"""

import json
import os
from pathlib import Path

from fastapi import Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

KEYS = Path(__file__).with_name("keys.json")


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:  # noqa: ARG001  # LiteLLM's signature
    """The key's owner, team and metadata; HTTP 401 for a key that is not in the file."""
    if api_key == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    known = json.loads(KEYS.read_text(encoding="utf-8")).get(api_key)
    if known is None:
        raise ProxyException(message="this key is not in keys.json", type="auth_error", param="key", code=401)
    return UserAPIKeyAuth(api_key=api_key, **known)
