"""One proxy worker: its strategy, what it keeps in memory, and what it exchanges with Redis."""
