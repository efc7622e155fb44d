"""What makes a run safe to leave alone: a plan with a price, a budget, a lock, pauses, resumption, progress."""
