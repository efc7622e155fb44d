"""Does `slo-router replay` foretell what a live run then shows? `python -m evaluation.routing.replay_ab`."""
