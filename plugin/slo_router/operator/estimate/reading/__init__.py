"""Reads rows of traffic from a proxy's database, from an export of it, or from request records."""
