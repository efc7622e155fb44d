"""LiteLLM: its hooks, what is taken from it in each version, and its YAML. Nothing else imports it."""
