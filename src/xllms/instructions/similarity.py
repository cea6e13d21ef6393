"""How near a translation is to its source once it is translated back; `metrics.similarity` tells it by embeddings."""

from collections.abc import Sequence

from xllms.engines.protocol import Translator
from xllms.errors import InputError
from xllms.languages import Language
from xllms.metrics.text import chrf


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
