"""History of the agent's runs, comparison of two of them, and the gate that a regressed deployment does not pass."""
