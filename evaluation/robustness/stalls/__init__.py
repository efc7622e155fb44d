"""Requests that meet a silent server, with and without rescue, on the stock proxy with two workers.

world     endpoints, what goes wrong, the arms, the configuration
asking    one request as a client sends it, and the content of its answer
checks    answers that are lost, broken, mixed or wrongly labelled, judged by the requests that the endpoints saw
stage     starts everything, and plays a phase with one arm at a time
fuzzing   random faults and clients that hang up at any moment, on four routes
ledger    what LiteLLM books
report    tables and bars
"""
