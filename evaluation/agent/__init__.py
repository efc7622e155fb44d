"""Whether the benchmark agent measures correctly, predicts what its runs take, and sends fast enough."""
