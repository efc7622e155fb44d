"""The limits of a run: its budget, the endpoint's lock, live traffic, outages."""
