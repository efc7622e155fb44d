"""What the plugin costs the proxy, and what its commands cost their users: time, CPU and memory."""
