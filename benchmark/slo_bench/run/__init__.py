"""One run of the benchmark: its order, estimate, progress and publication."""
