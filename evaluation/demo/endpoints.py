"""What the demo routes between: emulated endpoints, two real but tiny models, or the user's own.

The prices of the three emulated endpoints are Together AI's list prices of Qwen2.5 7B, 14B and 72B in LiteLLM's price
map. The two real models have no list price: their prices are invented, and so are all qualities here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, field_validator

from evaluation.demo.errors import DemoError
from evaluation.emulator import EndpointSpec, endpoint_process
from slo_router.contract.settings.environment import resolve_environment
from slo_router.contract.settings.validation import Count, QualityTable, Strict, validate
from slo_router.errors import SettingsError

ROOT = Path(__file__).parents[2]
EXAMPLE = "evaluation/demo_endpoints.example.yaml"

Price = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]  # not strict: YAML reads 1e-7 as text


class Endpoint(Strict):
    """One endpoint and the facts that the router needs, as ENDPOINTS=file.yaml lists them. Prices in USD per token."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    model: Annotated[str, Field(pattern=r"^[^/\s]+/\S+$", description="LiteLLM's name, such as openai/qwen")]
    api_base: str | None = None
    api_key: str | None = Field(None, repr=False)
    input_cost_per_token: Price | None = None
    output_cost_per_token: Price | None = None
    quality: QualityTable
    max_input_tokens: Count | None = None

    @field_validator("quality")
    @classmethod
    def _has_default(cls, value: dict[str, float]) -> dict[str, float]:
        if "default" not in value:
            raise ValueError("a number in 0..1, or one per category with a `default`")
        return value

    @field_validator("api_key")
    @classmethod
    def _is_set(cls, value: str | None) -> str | None:
        resolve_environment(value)
        return value

    @property
    def default_quality(self) -> float:
        """The quality for every category that has no number of its own."""
        return self.quality["default"]

    def entry(self, group: str) -> dict[str, object]:
        """The endpoint's entry in `model_list`."""
        names = {"model", "api_base", "api_key", "input_cost_per_token", "output_cost_per_token"}
        params = self.model_dump(include=names, exclude_none=True)
        if self.api_base:
            params.setdefault("api_key", "none")  # LiteLLM needs a key even if the server does not
        info: dict[str, object] = {"id": self.name, "slo_router": {"quality": self.quality}}
        if self.max_input_tokens is not None:
            info["max_input_tokens"] = self.max_input_tokens
        return {"model_name": group, "litellm_params": params, "model_info": info}


SPECS = [
    EndpointSpec(name="small-7b", ttft_ms=40, prefill_us_per_token=30, tpot_ms=10, slots=8, output_tokens=100),
    EndpointSpec(
        name="mid-14b",
        ttft_ms=60,
        prefill_us_per_token=50,
        tpot_ms=15,
        slots=8,
        output_tokens=100,
        context_tokens=32_768,
    ),
    EndpointSpec(
        name="large-72b",
        ttft_ms=180,
        prefill_us_per_token=200,
        tpot_ms=25,
        slots=4,
        output_tokens=100,
        context_tokens=32_768,
    ),
]
PRICE_AND_QUALITY = {  # USD per 1M tokens, input and output alike; 0..1
    "small-7b": (0.30, 0.60),
    "mid-14b": (0.80, 0.75),
    "large-72b": (1.20, 0.90),
    "smollm2-q4_0": (0.20, 0.40),
    "smollm2-q4_1": (0.40, 0.50),
}


@contextmanager
def emulated() -> Iterator[list[Endpoint]]:
    """Three emulated endpoints in their own process, which ends with the block or with this process."""
    with endpoint_process(SPECS) as addresses:
        pairs = zip(SPECS, addresses, strict=True)
        yield [_served(spec.name, address.api_base, spec.context_tokens) for spec, address in pairs]


@contextmanager
def real() -> Iterator[list[Endpoint]]:
    """Two quantizations of SmolLM2-135M, each served by llama.cpp, while the block runs. Raises DemoError."""
    try:  # imported here, because not every platform has the wheels
        from evaluation.shared.real_model import ModelUnavailableError  # noqa: PLC0415
        from evaluation.shared.real_server import ServerStartError, running_servers  # noqa: PLC0415
    except ImportError as error:
        raise DemoError(
            f"a real model needs the wheels xllamacpp and gguf, which the dev extra has: {error}"
        ) from error
    with ExitStack() as exits:
        try:
            servers = exits.enter_context(running_servers())
        except (ModelUnavailableError, ServerStartError) as error:
            raise DemoError(str(error)) from error
        yield [_served(s.deployment.name, s.api_base, s.deployment.context_tokens) for s in servers]


def own(path: Path) -> list[Endpoint]:
    """The user's list. Raises SettingsError naming file, entry, field, value and what was expected."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, expected a list of endpoints such as {EXAMPLE}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(entries, list) or len(entries) < 2:
        raise SettingsError(f"{path}: expected a list of at least two endpoints such as {EXAMPLE}")
    endpoints = [validate(Endpoint, entry, f"{path}[{index}]") for index, entry in enumerate(entries)]
    names = [endpoint.name for endpoint in endpoints]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SettingsError(f"{path}[{index}].name: {name!r} is used twice, expected names to be unique")
    return endpoints


def _served(name: str, api_base: str, context_tokens: int) -> Endpoint:
    usd_per_1m, quality = PRICE_AND_QUALITY[name]
    return Endpoint(
        name=name,
        model=f"openai/{name}",
        api_base=api_base,
        input_cost_per_token=usd_per_1m / 1e6,
        output_cost_per_token=usd_per_1m / 1e6,
        quality={"default": quality},
        max_input_tokens=context_tokens,
    )
