"""One request: sends it as LiteLLM would, reads its stream, and finds out who is to blame for a failure."""
