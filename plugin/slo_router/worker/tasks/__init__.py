"""How jobs run in the background without blocking the event loop or each other."""
