"""One request: sent as LiteLLM would send it, its stream read, and whose fault it was if it failed."""
