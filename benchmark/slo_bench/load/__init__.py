"""Load shapes: when requests are sent (pure), how large they are (pure), and the sender that keeps to it."""
