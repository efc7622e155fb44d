"""Requests in a provider's own form, in the terms of a chat completion."""
