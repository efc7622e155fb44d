"""What keeps a run from doing harm: the budget, the lock, live traffic, outages."""
