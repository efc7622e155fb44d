"""Measures LiteLLM deployments on a team's own traffic and writes what it finds to Redis."""
