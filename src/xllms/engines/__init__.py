"""Engines: who writes text."""

from xllms.engines.local import LocalEngine

__all__ = ["LocalEngine"]
