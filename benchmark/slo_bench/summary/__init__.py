"""Summaries of samples: means, percentiles, intervals, attainment, cost."""
