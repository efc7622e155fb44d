"""`slo-router evaluate`: what routers are worth on recorded outcomes. Needs numpy: the extra `evaluate`."""
