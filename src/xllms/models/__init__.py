"""Models: from a name in a recipe to weights in memory."""

from xllms.models.loading import Loaded, load, load_tokenizer

__all__ = ["Loaded", "load", "load_tokenizer"]
