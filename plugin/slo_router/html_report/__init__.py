"""The shared parts of the HTML reports of router and agent: frame, tables and plots."""
