"""Installs the peers at pinned versions, each into an environment of its own, once.

Both need a tokenizer, although the server reports the tokens. A tiny one is made here, because a study cannot download
one from a model hub at run time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

PINNED = {"guidellm": "0.8.1", "aiperf": "0.13.0"}
_TOKENIZER = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
made.save_pretrained(sys.argv[1])
"""


class Installed(NamedTuple):
    """Where the peers' commands and the tokenizer are."""

    guidellm: Path
    aiperf: Path
    tokenizer: Path


def install(home: Path, console: Console) -> Installed:
    """Installs what is not there yet. Raises subprocess.CalledProcessError if pip fails."""
    home = home.resolve()
    commands = {name: home / name / "bin" / name for name in PINNED}
    for name, command in commands.items():
        if not command.exists():
            console.print(f"installing {name} {PINNED[name]} (once, a minute or two)")
            subprocess.run([sys.executable, "-m", "venv", str(home / name)], check=True)
            python = str(home / name / "bin" / "python")
            subprocess.run([python, "-m", "pip", "install", "--quiet", f"{name}=={PINNED[name]}"], check=True)
    tokenizer = home / "tokenizer"
    if not tokenizer.exists():
        python = str(home / "guidellm" / "bin" / "python")
        subprocess.run([python, "-c", _TOKENIZER, str(tokenizer)], check=True, capture_output=True)
    return Installed(commands["guidellm"], commands["aiperf"], tokenizer)
