"""The load: the plan of a run, the times of its requests, and the sender."""
