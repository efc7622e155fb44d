"""Quota and account faults on the stock proxy: what reaches an endpoint that is over its limit or out of credit."""
