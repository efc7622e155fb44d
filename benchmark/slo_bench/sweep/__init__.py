"""The sweep over prompt length × rate: where a deployment saturates, and how its latency follows length and load."""
