"""The graders of a suite, and the sandbox that runs code. Pure except for the sandbox."""
