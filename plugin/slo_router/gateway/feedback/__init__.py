"""What clients say of the answers, over HTTP."""
