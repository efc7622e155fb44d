"""Recorded requests, decided again: by the policy of that time, or by another one."""
