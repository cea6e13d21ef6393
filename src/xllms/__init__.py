"""xllms takes an open language model to a hundred languages."""

__version__ = "0.1.0"
