"""What holds under random input and lasting load."""
