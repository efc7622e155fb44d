"""Does `slo-router replay` foretell what a live run then shows? `python -m evaluation.replay_ab`."""
