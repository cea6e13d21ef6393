"""Engines: who writes text, and who translates it."""
