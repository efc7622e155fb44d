"""One run of the benchmark: its order, its estimate, its progress, and what it publishes."""
