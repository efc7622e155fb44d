"""What has changed: the mix of tasks, and the quality of answers."""
