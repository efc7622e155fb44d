"""Measures LiteLLM deployments on a team's own prompts, and writes the results to Redis."""
