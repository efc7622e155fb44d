"""What many samples tell: means, percentiles, intervals, attainment, cost."""
