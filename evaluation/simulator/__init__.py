"""A discrete-event simulator of routing policies in virtual time.

    workload    arrivals (Azure trace or Poisson), sizes, categories and each request's joint contract; what is asked is
                drawn by `evaluation.shared.traffic`, which every world here shares
    endpoint    slots, serialized prefill, load-dependent decoding, slowdowns and outages
    engine      the event loop: one policy on one workload, retries and LiteLLM's cooldowns included
    policies    baselines and LiteLLM's own logic; `clairvoyant` is the lower bound on cost, `ours` the plugin itself
    scenarios   steady, burst, slowdown, outage, hang, stalls, slow-start, cold-start: streamed chats, the reference;
                tight, tight-burst, tight-outage, tight-hang: where places are scarce; swept-burst, swept-outage:
                likewise, after a sweep; mixed, mixed-burst, mixed-slowdown, mixed-credit: traffic of all kinds
    tally       what a run adds up to; `bars` holds it against what the project promises, `report` prints both

Everything is seeded. The same seed gives every policy the same arrivals, contracts and latency noise, so that policies
are compared on pairs, not on luck.
"""
