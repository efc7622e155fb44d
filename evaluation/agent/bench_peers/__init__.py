"""The agent beside guidellm and aiperf: the same work, the same endpoint, taking turns."""
