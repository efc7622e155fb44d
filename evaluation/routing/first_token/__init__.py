"""When the client got the first token, against the record, for every route and what each provider sends before it.

    python -m evaluation.routing.first_token --rounds 5

The server sends exactly a provider's bytes and waits between what opens the stream and the first token. A real client
asks by the real proxy, with one clock for all three: both run on this machine.
"""
