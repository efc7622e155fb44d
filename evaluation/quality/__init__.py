"""Whether suites and answer checks tell good deployments from bad ones, on a real model."""
