"""Whether the regression gate finds deployments that got worse, and does not alarm about the others."""
