"""The decision page: a small read-only web page of what the router does, alone or inside LiteLLM's admin UI."""
