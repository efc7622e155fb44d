"""The sweep over prompt length × rate: finds where a deployment saturates, and fits its latency to length and load."""
