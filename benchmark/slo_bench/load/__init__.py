"""Load: who is asked, when each request is sent, and the sender that keeps to it."""
