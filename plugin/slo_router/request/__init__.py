"""What is read from a request: size, needs, category, SLO and conversation. Pure."""
