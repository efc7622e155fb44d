"""The history of the agent's runs, the comparison of two runs, and the gate against regressed deployments."""
