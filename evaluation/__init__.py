"""One command per number in the README, and the emulated endpoints that demo, tests and studies share."""
