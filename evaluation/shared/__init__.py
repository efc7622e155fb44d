"""What several studies, the demo and the tests need: the stock proxy, prompts, traffic, a real model, virtual time."""
