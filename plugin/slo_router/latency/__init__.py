"""How long a deployment takes: the curve, the sums that it is fitted to, the fit. Pure."""
