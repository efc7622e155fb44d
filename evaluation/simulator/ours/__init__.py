"""The plugin itself as a policy."""

from .policy import WORKERS, Ours
from .told import facts_of, headers_of

__all__ = ["WORKERS", "Ours", "facts_of", "headers_of"]
