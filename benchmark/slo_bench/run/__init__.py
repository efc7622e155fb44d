"""One run of the benchmark: its plan, its order, its progress, and what it publishes."""
