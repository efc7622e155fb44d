"""Recorded requests, decided again: by the policy of then, or by another one."""
