"""The latency of a deployment: its curve, the sums that the curve is fitted to, and the fit. Pure."""
