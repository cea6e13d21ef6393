"""From ranked answers to preferences: best against worst, each two, or the whole ranking.

The reference is chosen unless a sample comes near it (`LEAD`): what the model can say by itself is the better lesson.
Without a reference the best sample is that is surely in the language; where there is none, the prompt gives nothing. An
answer in the wrong language is never chosen, whatever it scores; nor is one whose language is undecided, unless it says
nearly what the reference says: a judge alone vouches for no language.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from xllms.feedback.candidates import Candidate, best_in_language
from xllms.feedback.rejects import Reject
from xllms.recipe.feedback import PairingSettings
from xllms.records import Preference, Prompt, Ranking

LEAD = 10.0  # points that the reference must be ahead of the best sample to be chosen in its place

Rejected = tuple[str, str, float]  # text, reason, by how many points it is behind


def preferences(
    record: Prompt,
    ranked: Sequence[Candidate],
    reference: Candidate | None,
    constructed: Sequence[Reject],
    settings: PairingSettings,
) -> list[Preference]:
    """Preference records of one prompt: the constructed answers are rejected first, then samples.

    Args:
        record: the prompt, with its reference, if there is one, as output.
        ranked: samples, best first, as `rank` orders them.
        reference: the record's output as a candidate; None without.
        constructed: made to be rejected.
        settings: which pairs, and what sets two answers far enough apart.
    """
    best = _best(ranked, reference)
    if best is None:
        return []
    reason = _reference_reason(ranked, best) if best is reference else best.reason
    found = [(best.text, reason, rejected) for rejected in _against(best, ranked, constructed, settings)]
    if settings.mode == "all":
        known = {(chosen, text) for chosen, _, (text, _, _) in found}
        winners = _winners(ranked, reference)
        found += [pair for pair in _each_two(winners, ranked, settings) if (pair[0], pair[2][0]) not in known]
        found.sort(key=lambda pair: -pair[2][2])
    kept = [one for one in found if _alike_in_length(one[0], one[2][0], settings.max_length_ratio)]
    return [
        Preference(
            id=f"{record.id}:{number}",
            instruction=record.instruction,
            input=record.input,
            chosen=chosen,
            rejected=text,
            language=record.language,
            instruction_language=record.instruction_language,
            chosen_reason=chosen_reason,
            rejected_reason=rejected_reason,
            parallel_id=record.parallel_id,
        )
        for number, (chosen, chosen_reason, (text, rejected_reason, _)) in enumerate(kept[: settings.max_pairs])
    ]


def rankings(
    record: Prompt,
    ranked: Sequence[Candidate],
    reference: Candidate | None,
    constructed: Sequence[Reject],
    settings: PairingSettings,
) -> list[Ranking]:
    """The answers of one prompt in order, if there are two.

    By default four: right, right in another language, wrong, wrong in another language; the order of cross-lingual
    ranking preference optimisation (target-chosen > English-chosen > target-rejected > English-rejected). With
    `mode: ranking` all: those in the language, each `min_margin` below the one before, then the others. Where a
    constructed answer that is not just in another language would stand among samples is not known: it is left out.
    """
    best = _best(ranked, reference)
    if best is None:
        return []
    reason = _reference_reason(ranked, best) if best is reference else best.reason
    elsewhere = {reject.text: reject.reason for reject in constructed if reject.right_elsewhere}
    if settings.mode == "ranking":
        own = _spaced(best, ranked, settings.min_margin)
        rest = {c.text: c.reason for c in ranked if c.text and not c.in_language}
        answers = _first_of_each({best.text: reason}, own, elsewhere, rest)
    else:
        worse = [c for c in ranked if _is_worse(c, best, settings.min_margin)]
        last = {c.in_language: {c.text: c.reason} for c in worse}  # the last of either kind is its worst
        one_elsewhere = dict(list(elsewhere.items())[:1])
        answers = _first_of_each({best.text: reason}, one_elsewhere, last.get(True, {}), last.get(False, {}))
    if len(answers) < 2:
        return []
    return [
        Ranking(
            id=record.id,
            instruction=record.instruction,
            input=record.input,
            answers=tuple(answers),
            reasons=tuple(answers.values()),
            language=record.language,
            instruction_language=record.instruction_language,
            parallel_id=record.parallel_id,
        )
    ]


def _best(ranked: Sequence[Candidate], reference: Candidate | None) -> Candidate | None:
    if reference is None:
        return best_in_language(ranked)
    first = next(iter(_winners(ranked, reference)), None)
    return first if first and first.value >= reference.value - LEAD else reference


def _winners(ranked: Sequence[Candidate], reference: Candidate | None) -> list[Candidate]:
    """Who may be chosen: surely in the language, or so near the reference in words that it speaks for the answer."""
    near = math.inf if reference is None or reference.chrf is None else reference.chrf - LEAD
    return [c for c in ranked if c.status == "right" or (c.in_language and (c.chrf or 0.0) >= near)]


def _reference_reason(ranked: Sequence[Candidate], reference: Candidate) -> str:
    if not ranked:
        return "reference: nothing was sampled"
    if ranked[0].total is None:
        return f"reference: the best sample reached chrF++ {ranked[0].value:.0f}"
    return f"reference: the best sample reached {ranked[0].value:.0f} (the reference {reference.value:.0f})"


def _is_worse(candidate: Candidate, than: Candidate, margin: float) -> bool:
    """Fit to be rejected: said something, and in the wrong language or behind by the margin."""
    behind = candidate.value < than.value and candidate.value <= than.value - margin  # equals are no pair at margin 0
    return bool(candidate.text) and (behind or not candidate.in_language)


def _against(
    best: Candidate, ranked: Sequence[Candidate], constructed: Sequence[Reject], settings: PairingSettings
) -> list[Rejected]:
    """What the best answer is set against: the constructed answers, and the worst sample (with `all`, each worse)."""
    rejected = {reject.text: (reject.text, reject.reason, 100.0) for reject in constructed if reject.text != best.text}
    samples = ranked if settings.mode == "all" else ranked[-1:]
    for sample in reversed(samples):
        if sample.text != best.text and _is_worse(sample, best, settings.min_margin):
            # The model may have said just what was constructed.
            rejected.setdefault(sample.text, (sample.text, sample.reason, _behind(sample, best)))
    return list(rejected.values())


def _each_two(
    winners: Sequence[Candidate], ranked: Sequence[Candidate], settings: PairingSettings
) -> Iterator[tuple[str, str, Rejected]]:
    """Samples against each other: those that may be chosen, and all that are worse."""
    for better, worse in product(winners, ranked):
        if worse is not better and better.text and _is_worse(worse, better, settings.min_margin):
            yield better.text, better.reason, (worse.text, worse.reason, _behind(worse, better))


def _behind(worse: Candidate, better: Candidate) -> float:
    """Points; the wrong language is behind by all of them."""
    return better.value - worse.value if worse.in_language else 100.0


def _spaced(best: Candidate, ranked: Sequence[Candidate], margin: float) -> dict[str, str]:
    """Samples in the language, each at least the margin below the one before."""
    kept, above = {}, best
    for candidate in ranked:
        if candidate.in_language and _is_worse(candidate, above, margin):
            kept[candidate.text] = candidate.reason
            above = candidate
    return kept


def _first_of_each(*parts: Mapping[str, str]) -> dict[str, str]:
    """Text -> reason; a text that stands twice keeps its first place."""
    merged: dict[str, str] = {}
    for part in parts:
        for text, reason in part.items():
            merged.setdefault(text, reason)
    return merged


def _alike_in_length(one: str, other: str, limit: float | None) -> bool:
    shorter, longer = sorted((len(one), len(other)))
    return limit is None or longer <= limit * shorter
