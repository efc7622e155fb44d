"""The other workers and the model servers, in one separate process.

    python -m evaluation.overhead.loop_hold.peers REDIS_URL DEPLOYMENTS PEERS

Every second each peer publishes its picture of every deployment as changed: the worst case. The pictures are real ones
of some hundred requests. From second to second only their time changes, so that the peers need little CPU. One HTTP
server answers as each deployment's own `/metrics` would: the gauges of its load among many histograms. The process
prints the server's address.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

import redis

from evaluation.overhead.loop_hold.world import PREFIX, names
from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.live.live import Live
from slo_router.live.picture import export
from slo_router.worker.tasks.turns import at_once

INTERVAL_S = 1.0
PICTURES = 8
REQUESTS = 300
HISTOGRAMS = 25
BUCKETS = 24
TTL_S = 10
NOW = "now"


def pictures() -> list[str]:
    """What a worker publishes about one deployment after some hundred requests, as JSON; `NOW` stands for the time."""
    said = []
    for seed in range(PICTURES):
        rng, live, now_s = random.Random(seed), Live(), time.time()
        for number in range(REQUESTS):
            at_s = now_s - 60 + number / 5
            flights = [live.dispatched("a", at_s, 0.2) for _ in range(rng.choice((1, 2, 5, 20, 40)))]
            ttft_s = rng.lognormvariate(-1.5, 0.4)
            for flight in flights:
                live.finished(
                    flight,
                    "success",
                    at_s,
                    prompt_tokens=rng.randrange(50, 4_000),
                    output_tokens=rng.randrange(10, 400),
                    ttft_s=ttft_s,
                    e2e_s=ttft_s + rng.uniform(1, 5),
                )
            if number % 20 == 0:
                at_once(live.refit({}, at_s))
        picture = json.loads(bytes(dict(export(live, now_s))["a"]))
        picture["answered_at_s"] = picture["evidence"]["at_s"] = NOW
        said.append(json.dumps(picture, separators=(",", ":")))
    return said


def exposition() -> bytes:
    """A page of metrics as long as vLLM's."""
    lines = ["# TYPE vllm:num_requests_running gauge", 'vllm:num_requests_running{engine="0",model_name="m"} 3.0']
    lines += ["# TYPE vllm:num_requests_waiting gauge", 'vllm:num_requests_waiting{engine="0",model_name="m"} 0.0']
    for number in range(HISTOGRAMS):
        name = f"vllm:histogram_{number}_seconds"
        lines.append(f"# TYPE {name} histogram")
        lines += [f'{name}_bucket{{engine="0",le="{bound}.0",model_name="m"}} 17.0' for bound in range(BUCKETS)]
        lines += [f'{name}_count{{engine="0",model_name="m"}} 17.0', f'{name}_sum{{engine="0",model_name="m"}} 1.7']
    return ("\n".join(lines) + "\n").encode()


async def serve() -> str:
    """Starts the HTTP server and returns its address."""
    body = exposition()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def main(url: str, deployments: int, peers: int) -> None:
    """Serves and publishes without end."""
    print(await serve(), flush=True)
    said, client = pictures(), redis.Redis.from_url(url)
    workers = [f"{number:032x}" for number in range(peers)]
    while True:
        begun_s = time.monotonic()
        at_s = f"{time.time():.3f}"
        known = [text.replace(f'"{NOW}"', at_s) for text in said]
        for place, worker in enumerate(workers):
            parts = (f'"{name}":{known[(place + at) % PICTURES]}' for at, name in enumerate(names(deployments)))
            client.set(f"{PREFIX}{LIVE_KEY}{worker}", "{" + ",".join(parts) + "}", ex=TTL_S)
            client.sadd(f"{PREFIX}{WORKERS_KEY}", worker)
            await asyncio.sleep(0)
        await asyncio.sleep(max(begun_s + INTERVAL_S - time.monotonic(), 0.05))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
