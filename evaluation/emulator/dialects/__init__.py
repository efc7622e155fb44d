"""The text routes that an emulated endpoint speaks."""

from .completions import ChatCompletions, Completions
from .dialect import Dialect, Json
from .messages import Messages
from .responses import Responses

__all__ = ["ChatCompletions", "Completions", "Dialect", "Json", "Messages", "Responses"]
