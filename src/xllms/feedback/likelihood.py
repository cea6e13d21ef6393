"""Rankers that ask a model's log-probabilities, not its opinion: the implicit reward, and the answer said in English.

Preference training in English leaves in a model what it learnt to prefer: `log p_dpo(y|x) - log p_sft(y|x)`. Under the
English instruction it also ranks answers in other languages (Yang et al. 2025, arXiv 2503.04647), without a judge.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from xllms.engines.protocol import Translator
from xllms.feedback.rankers import Score, against_others
from xllms.languages import get
from xllms.models import Loaded
from xllms.packing.logprobs import token_logprobs
from xllms.packing.trie import Trie
from xllms.records import Prompt

ENGLISH = "eng_Latn"


class ImplicitRanker:
    """Ranks by the log-ratio of a preference-trained model and its reference under the English instruction.

    Args:
        tuned: the preference-trained model.
        reference: what it started from.
        english: parallel_id -> a record with the English instruction.
        beta: as the model was trained.
        per_token: mean over the answer's tokens instead of the sum.
    """

    name = "implicit"

    def __init__(
        self, tuned: Loaded, reference: Loaded, english: Mapping[str, Prompt], beta: float, per_token: bool = False
    ) -> None:
        self.tuned, self.reference, self.english = tuned, reference, english
        self.beta, self.per_token = beta, per_token
        self.counts: Counter[str] = Counter()

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer: its chance against the others; none where the prompt has no English instruction."""
        asked = in_english(record, self.english)
        if asked is None:
            self.counts["no English instruction"] += 1
            return [Score(None, "no English instruction")] * len(candidates)
        tuned, reference = (
            answer_logprobs(loaded, asked, candidates, per_token=self.per_token)
            for loaded in (self.tuned, self.reference)
        )
        ratios = [one - other for one, other in zip(tuned, reference, strict=True)]
        values = against_others(ratios, self.beta)
        return [Score(value, f"log-ratio {ratio:+.2f}") for value, ratio in zip(values, ratios, strict=True)]


class TranslationRanker:
    """Ranks by how likely the answer, translated to English, is after the English prompt.

    Args:
        translator: into English.
        loaded: whose likelihood, per token.
        english: parallel_id -> a record with the English instruction.
    """

    name = "translation"

    def __init__(self, translator: Translator, loaded: Loaded, english: Mapping[str, Prompt]) -> None:
        self.translator, self.loaded, self.english = translator, loaded, english
        self.counts: Counter[str] = Counter()

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer: its chance against the others; none where there is nothing to translate or compare.

        Raises:
            EngineError: the translator cannot go on.
        """
        asked = in_english(record, self.english)
        said = self._translated(record, candidates)
        if asked is None or said is None:
            why = "no English instruction" if asked is None else "language not translated"
            self.counts[why] += 1
            return [Score(None, why)] * len(candidates)
        there = [at for at, text in enumerate(said) if text.strip()]
        scores = [Score(None, "no translation")] * len(candidates)
        if there:
            means = answer_logprobs(self.loaded, asked, [said[at] for at in there], per_token=True)
            for at, mean, value in zip(there, means, against_others(means), strict=True):
                scores[at] = Score(value, f"probability per token {math.exp(mean):.2g}")
        return scores

    def _translated(self, record: Prompt, candidates: Sequence[str]) -> list[str] | None:
        source, target = get(record.language), get(ENGLISH)
        if source == target:
            return list(candidates)
        if not self.translator.supports(source, target):
            return None
        filled = [text for text in candidates if text.strip()]
        said = dict(zip(filled, self.translator.translate(filled, source, target), strict=True)) if filled else {}
        return [said.get(text, "") for text in candidates]


def in_english(record: Prompt, english: Mapping[str, Prompt]) -> Prompt | None:
    """The record itself if it asks in English, else the one that asks the same in English."""
    return record if record.instruction_language == ENGLISH else english.get(record.parallel_id)


@torch.inference_mode()
def answer_logprobs(loaded: Loaded, asked: Prompt, answers: Sequence[str], *, per_token: bool = False) -> list[float]:
    """Log-probability of each answer and its end after one instruction, which is run once.

    Args:
        loaded: model, template and batching.
        asked: its instruction and input are the prompt.
        answers: to score.
        per_token: mean instead of sum.
    """
    trie = Trie.build([loaded.template.sequence(asked.instruction, asked.input, answer) for answer in answers])
    sums = trie.sum_by_sequence(token_logprobs(loaded.model, trie, batching=loaded.batching)).tolist()
    return [value / length if per_token else value for value, length in zip(sums, trie.lengths, strict=True)]
