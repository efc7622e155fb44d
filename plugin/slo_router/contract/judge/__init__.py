"""How a model is asked which of two answers is better: by the benchmark, and by the workers."""
