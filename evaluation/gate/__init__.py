"""Whether the regression gate finds what got worse, and leaves alone what did not."""
