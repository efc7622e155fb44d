"""What a request is and asks for: its size and needs, its category, its SLO, its conversation. Pure."""
