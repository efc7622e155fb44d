"""The record's TTFT beside the client's, for every route and for what each provider sends before the first token.

    python -m evaluation.routing.first_token --rounds 5

The server sends exactly a provider's bytes, and waits between the opening of the stream and the first token. A real
client asks through the real proxy. All three run on this machine and share one clock.
"""
