"""Whether the answer checks tell a broken deployment from a working one, on a real model."""
