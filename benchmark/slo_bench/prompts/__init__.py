"""Prompts: what is asked. Workload files, the prompts in them, and prompts of a given length."""
