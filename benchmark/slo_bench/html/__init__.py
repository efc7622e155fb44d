"""The agent's report as one HTML page: rows of numbers in, text out."""
