"""Load: what is asked of whom, when requests are sent, how large they are (pure), and the sender that keeps to it."""
