"""What the workers see of the deployments while they serve: load, late answers, circuits, accounts. Pure."""
