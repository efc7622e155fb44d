"""What a team says of its own tasks."""
