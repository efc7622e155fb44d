"""Whether a request costs what LiteLLM bills for it: see `__main__`."""
