"""Prompts: workload files, the prompts in them, and prompts of a given length."""
