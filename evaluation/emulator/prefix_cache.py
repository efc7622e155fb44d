"""A prefix cache like vLLM's: it keeps whole blocks of the beginnings of prompts, the most recently used ones."""

from collections import OrderedDict
from zlib import crc32

BLOCK_TOKENS = 16
_BLOCK_CHARS = 4 * BLOCK_TOKENS


class PrefixCache:
    """The prefix cache of one endpoint."""

    def __init__(self, tokens: int) -> None:
        self._most_blocks = tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def take(self, prompt: str) -> int:
        """The tokens of this prompt that need no prefill. From now on all of its blocks are cached."""
        if not self._most_blocks:
            return 0
        known, chain, is_known = 0, 0, True
        for end in range(_BLOCK_CHARS, len(prompt), _BLOCK_CHARS):  # the last token is computed in any case
            chain = crc32(prompt[end - _BLOCK_CHARS : end].encode(), chain)
            is_known = is_known and chain in self._blocks
            known += is_known
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)
        return known * BLOCK_TOKENS
