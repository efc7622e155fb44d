"""Which deployment gets a request: predictions, filters, objective, pick, and why. Pure."""
