"""A face-off on the stock proxy: LiteLLM's routing strategies and ours side by side before endpoints that are alike.

Behind one stock LiteLLM proxy for each strategy stand emulated endpoints of its own, of unlike speed, price and
quality, with few slots and a real queue: four for streamed chats, the reference, and six that meet traffic of all
kinds. An open-loop client sends every proxy the same requests at the same instants, and measures what a user would: the
first chunk with content after the send, or the end of a whole answer, the tokens that were paid for, who answered.

Every request has a joint contract: a limit on that time, a limit on the cost per 1,000 tokens, a floor of quality. It
is kept where all three are. The contract goes to every proxy in the same headers; LiteLLM's
strategies do not read them, for LiteLLM has no notion of a request's SLO. What they miss is therefore in part quality
and cost, which they never promised; the share that met the limit on the time alone is shown beside it.

    world        endpoints, prices, qualities, contracts, phases: all numbers are here
    arrivals     who asks for what and when, from a seed
    omniscient   what a router could do that knows the emulator's numbers, every queue and every answer's length
                 (and what it takes to send all to the large one)
    proxies      the configuration of each strategy's proxy
    client       sends and measures
    stage        starts and stops processes, makes endpoints fail
    watch        whom our plugin shuts without a cause
    summary      shares, quantiles, spread over the repeats, bars
    report, plot what a person sees
"""
