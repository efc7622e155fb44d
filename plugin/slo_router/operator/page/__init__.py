"""The decision page: a small read-only web page on what the router does, alone or inside LiteLLM's admin UI."""
