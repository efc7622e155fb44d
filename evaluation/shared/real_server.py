"""llama.cpp's own HTTP server on a real model.

    python -m evaluation.shared.real_server '{"port": 8080}'

Emulated endpoints obey their formulas; this real server checks the formulas. The wheel `xllamacpp` holds the server,
`evaluation.shared.real_model` the weights. Each deployment is a process, so that it has its own threads.
"""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import xllamacpp

from evaluation.shared.real_model import ModelUnavailableError, Quantization, model_path

_START_S = 60.0
_STOP_S = 5.0
_HTTP_THREADS = 32  # each open stream keeps one; the default is the number of cores


class ServerStartError(Exception):
    """A server process ended or stayed silent instead of answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDeployment:
    """One server process."""

    name: str = "smollm2"
    quantization: Quantization = "Q4_1"
    port: int = 0  # 0: any free port
    context_tokens: int = 2048  # per request; the model was trained on 8192
    slots: int = 2
    threads: int = 1
    chat_template: str = ""  # Jinja; empty: the model's own
    wrong_tokenizer: bool = False


DEPLOYMENTS = (
    RealDeployment(name="smollm2-q4_1", quantization="Q4_1", context_tokens=4096),
    RealDeployment(name="smollm2-q4_0", quantization="Q4_0", context_tokens=2048),
)
"""Two that really differ: the first has the accuracy of the weights and takes longer prompts, the second answers about
twice as fast."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    deployment: RealDeployment
    url: str

    @property
    def api_base(self) -> str:
        """What OpenAI clients and LiteLLM call the base URL."""
        return f"{self.url}/v1"


def path_of(deployment: RealDeployment) -> Path:
    """The path of the weights, which are made if they are missing."""
    return model_path(deployment.quantization, wrong_tokenizer=deployment.wrong_tokenizer)


@contextmanager
def running_servers(deployments: Sequence[RealDeployment] = DEPLOYMENTS) -> Iterator[list[RunningServer]]:
    """Run one process per deployment while the block runs. The processes end with this one, however it ends.

    Raises:
        ModelUnavailableError: the weights could not be downloaded.
        ServerStartError: a server did not start; its messages are on stderr.
    """
    for deployment in deployments:
        path_of(deployment)  # before any process, so that no start waits for a download
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(deployment)) for deployment in deployments]
        yield [_started(*pair) for pair in zip(deployments, processes, strict=True)]


@contextmanager
def _process(deployment: RealDeployment) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "evaluation.shared.real_server", json.dumps(asdict(deployment))]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _started(deployment: RealDeployment, process: "subprocess.Popen[str]") -> RunningServer:
    """Wait for the line that the server prints once it answers."""
    stdout = process.stdout
    line = stdout.readline() if stdout and select.select([stdout], [], [], _START_S)[0] else ""
    if not line:
        raise ServerStartError(
            f"{deployment.name}: no server after {_START_S:.0f} s at most; see its message on stderr"
        )
    return RunningServer(deployment, json.loads(line)["url"])


def serve(deployment: RealDeployment) -> None:
    """Serve in this process until SIGINT, SIGTERM or the end of standard input, which comes when the parent ends."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path_of(deployment))
    params.model_alias = {deployment.name}
    params.port = deployment.port
    params.n_ctx = deployment.context_tokens * deployment.slots  # llama.cpp divides it by the slots
    params.n_parallel = deployment.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = deployment.threads
    params.n_threads_http = _HTTP_THREADS
    params.chat_template = deployment.chat_template
    params.endpoint_metrics = True
    params.ui = False
    params.verbosity = 1  # errors
    server = xllamacpp.Server(params)  # returns when the model is loaded and the port answers
    url = server.listening_address
    print(json.dumps({"name": deployment.name, "url": url, "api_base": f"{url}/v1"}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()


def main(arguments: str) -> None:
    """Serves the deployment whose fields `arguments` has, as JSON."""
    deployment = RealDeployment(**json.loads(arguments))
    try:
        serve(deployment)
    except (ModelUnavailableError, RuntimeError) as error:  # RuntimeError: xllamacpp could not start
        sys.exit(f"{deployment.name}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["{}"])
