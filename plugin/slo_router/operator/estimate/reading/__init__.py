"""Rows of traffic, out of whatever a proxy left: its database, an export of it, or request records."""
