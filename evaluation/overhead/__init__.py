"""What the plugin costs the proxy, and its commands their users: time, CPU and memory."""
