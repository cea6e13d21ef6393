"""Candidates to a cross-lingual prompt, ranked by language and reference, and paired; each with the reason."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xllms.languages import Language, get
from xllms.languages.identification import identify
from xllms.metrics.text import chrf, exact_match
from xllms.records import Instruction, Preference, Ranking

GOOD = 90.0  # chrF++ from which a sample may be chosen in the reference's place
GAP = 15.0  # chrF++ that the chosen answer must be ahead of a rejected sample
_ENGLISH = "eng_Latn"
_ENGLISH_SHARE = 0.5  # answering in English is the most common way to miss the language


@dataclass(frozen=True)
class Candidate:
    """One answer, with what the rankers said of it."""

    text: str
    origin: str
    chrf: float
    status: str
    found: str | None

    @property
    def in_language(self) -> bool:
        """Not known to be in another language, and not empty."""
        return self.status in ("right", "undecided")

    @property
    def reason(self) -> str:
        """Why it stands where it does, in words."""
        found = f" ({get(self.found).name})" if self.status == "wrong" and self.found else ""
        return f"{self.origin}: chrF++ {self.chrf:.0f} to the reference, language {self.status}{found}"


def judge(text: str, record: Instruction, language: Language, origin: str) -> Candidate:
    """Score one answer to `record`."""
    verdict = identify(text, language)
    status = "right" if exact_match(text, record.output) else verdict.status
    return Candidate(text, origin, chrf([text], [record.output]), status, verdict.found)


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first: the right language before the wrong one, then by the reference."""
    return sorted(candidates, key=lambda c: (not c.in_language, -c.chrf, c.text))


def wrong_language(
    record: Instruction, same_fact: Mapping[str, Instruction], language: Language, draw: random.Random
) -> tuple[str, str] | None:
    """The same fact in another language, and that language's code; None if no other says it differently."""
    own = record.output.casefold()
    others = {code: r for code, r in same_fact.items() if code != record.language and r.output.casefold() != own}
    if not others:
        return None
    if _ENGLISH in others and draw.random() < _ENGLISH_SHARE:
        code = _ENGLISH
    else:
        same_script = [code for code in sorted(others) if get(code).script == language.script]
        code = draw.choice(same_script or sorted(others))
    return others[code].output, code


def pair(record: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Preference]:
    """Preference records of one prompt: against the constructed wrong-language answer, and against the worst sample."""
    chosen, chosen_reason, score = _chosen(record, ranked)
    rejected = []
    if constructed and constructed[0] != chosen:
        text, code = constructed
        rejected.append((text, f"wrong language: the same fact in {get(code).name}"))
    # The empty answer is no lesson, and the model may have said just what was constructed.
    worst = ranked[-1] if ranked and ranked[-1].text not in ("", *dict(rejected)) else None
    if worst and (not worst.in_language or worst.chrf <= score - GAP):
        rejected.append((worst.text, worst.reason))
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
            rejected_reason=reason,
            parallel_id=record.parallel_id,
        )
        for number, (text, reason) in enumerate(rejected)
        if text != chosen
    ]


def ranking(record: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Ranking]:
    """All answers of one prompt, if there are two: right, right in another language, wrong, wrong in another language.

    The order is that of cross-lingual ranking preference optimisation: target-chosen > English-chosen >
    target-rejected > English-rejected.
    """
    chosen, reason, score = _chosen(record, ranked)
    answers = {chosen: reason}
    if constructed:
        text, code = constructed
        answers.setdefault(text, f"wrong language: the same fact in {get(code).name}")
    worse = [c for c in ranked if c.text and (not c.in_language or c.chrf <= score - GAP)]
    for in_language in (True, False):
        of_kind = [c for c in worse if c.in_language is in_language]
        if of_kind:
            answers.setdefault(of_kind[-1].text, of_kind[-1].reason)
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


def _chosen(record: Instruction, ranked: Sequence[Candidate]) -> tuple[str, str, float]:
    """The best answer, why, and its chrF++: a good sample, else the reference."""
    best = ranked[0] if ranked and ranked[0].in_language and ranked[0].chrf >= GOOD else None
    if best:
        return best.text, best.reason, best.chrf
    nearest = f"the best sample reached chrF++ {ranked[0].chrf:.0f}" if ranked else "nothing was sampled"
    return record.output, f"reference: {nearest}", 100.0
