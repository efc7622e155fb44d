"""Does `slo-router replay` predict what a live run then shows? `python -m evaluation.routing.replay_ab`."""
