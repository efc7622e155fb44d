"""Requests that meet a silent server, on the stock proxy with two workers: what becomes of them with and without
rescue.

    world     endpoints, what goes wrong, the arms, the configuration
    asking    one request as a client sends it, and what its answer says
    checks    answers that are lost, broken, mixed or wrongly labelled, by what the endpoints saw
    stage     starts everything; one arm at a time plays a phase
    fuzzing   random faults and clients that hang up at any moment, on four routes
    ledger    what LiteLLM books
    report    tables and bars
"""
