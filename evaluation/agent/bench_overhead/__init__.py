"""How many requests per second the agent itself can send and read, and how late it sends them."""
