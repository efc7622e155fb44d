"""The graders of a suite: what they look for in an answer's text, and the sandbox that runs code. Pure but for that."""
