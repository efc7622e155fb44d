"""What studies, demo and tests share: stock proxy, Valkey, prompts, traffic, a real model, results, virtual time."""
