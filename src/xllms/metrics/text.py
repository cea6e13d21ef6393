"""Scores of answers against references."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any


@cache
def _chrf_scorer() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2)


def chrf(outputs: Sequence[str], references: Sequence[str]) -> float:
    """Corpus chrF++ (Popović 2017) by sacrebleu, 0 to 100.

    Raises:
        ValueError: no outputs, or not as many as references.
    """
    if not outputs or len(outputs) != len(references):
        raise ValueError(f"chrF++ needs as many outputs as references, and one at least: {len(outputs)}")
    return float(_chrf_scorer().corpus_score(list(outputs), [list(references)]).score)


def exact_match(output: str, reference: str) -> bool:
    """Equal but for case, Unicode form, outer space and closing punctuation."""
    return _plain(output) == _plain(reference)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .。।۔:：\"'“”«»")
