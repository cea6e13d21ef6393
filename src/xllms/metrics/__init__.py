"""Scores of text against references, and what may be said of many languages' scores."""
