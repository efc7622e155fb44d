"""What studies, demo and tests share: the stock proxy, a Valkey, prompts, traffic, a real model, virtual time."""
