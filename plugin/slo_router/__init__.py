"""Routes each request of a stock LiteLLM proxy to the cheapest deployment that meets its SLO."""
