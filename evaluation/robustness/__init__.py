"""What the plugin and the agent keep up under random input, silent servers and lasting load."""
