"""A discrete-event simulator of routing policies in virtual time.

    workload    arrivals (Azure trace or Poisson), sizes, categories and each request's joint contract;
                `evaluation.shared.traffic` draws the rest of the request, here and in all other studies
    endpoint    slots, serialized prefill, load-dependent decoding, slowdowns and outages
    engine      the event loop: one policy on one workload, with LiteLLM's retries and cooldowns
    policies    baselines and LiteLLM's own logic; `clairvoyant` is the lower bound on cost, `ours` the plugin itself
    scenarios   steady, burst, slowdown, outage, hang, stalls, slow-start, cold-start: streamed chats, the reference;
                tight, tight-burst, tight-outage, tight-hang: few slots; swept-burst, swept-outage: few slots, after a
                sweep; mixed, mixed-burst, mixed-slowdown, mixed-credit: traffic of all kinds
    tally       the sums and statistics of a run; `report` compares them with what the project promises, and prints both

Everything is seeded. The same seed gives every policy the same arrivals, contracts and latency noise, so that policies
are compared in pairs and luck does not decide.
"""
