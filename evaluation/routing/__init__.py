"""Whether routing rests on facts: categories, answer lengths, first tokens, prices, quotas, replay's predictions."""
