"""A face-off on the stock proxy: LiteLLM's routing strategies and ours side by side, each with equal endpoints.

Each strategy has a stock LiteLLM proxy with its own emulated endpoints. The endpoints of one proxy differ in speed,
price and quality, and have few slots and a real queue. Four serve streamed chats, the reference; six meet traffic of
all kinds; four differ in verbosity. An open-loop client sends every proxy the same requests at the same instants. It
measures what a user would: the time from the send to the first chunk with content, or to the end of a whole answer, the
tokens that were paid for, and which deployment answered.

Every request has a joint contract: a limit on that time, a limit on the cost per 1,000 tokens, and a quality floor. The
contract is kept if all three are. It goes to every proxy in the same headers. LiteLLM's strategies do not read them,
because LiteLLM knows no SLO of a request. So part of what they miss is quality and cost, which they never promised. The
tables therefore also show the share that met the time limit alone.

    world        endpoints, prices, qualities, contracts, phases: all numbers are here
    arrivals     the requests and their instants, from a seed
    omniscient   a router that knows the emulator's numbers, every queue and every answer's length
                 (and what sending everything to the large endpoint gives)
    proxies      the configuration of each strategy's proxy
    client       sends and measures
    stage        starts and stops processes, makes endpoints fail
    watch        finds deployments that our plugin shuts without a cause
    summary      shares, quantiles, spread over the repeats, bars
    report, plot what a person sees
"""
