"""How jobs run in the background without holding the event loop or each other."""
