"""What a worker learns from its own requests, and from the answers that the others tell of."""
