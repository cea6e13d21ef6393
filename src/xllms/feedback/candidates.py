"""A candidate: one answer to a cross-lingual prompt, with its language, its likeness to the reference and its score."""

from collections.abc import Sequence
from dataclasses import dataclass

from xllms.languages import Language, get
from xllms.languages.identification import MIN_LETTERS, identify
from xllms.languages.writing import letters_by_script
from xllms.metrics.text import chrf, exact_match
from xllms.records import Instruction, Prompt


@dataclass(frozen=True)
class Candidate:
    """One answer, with what the rankers said of it.

    Attributes:
        text: the answer.
        origin: who wrote it.
        chrf: chrF++ to the reference; none where there is none.
        status: what identification says of its language: right, wrong, undecided or empty.
        found: FLORES code of the language it is in, where known.
        total: of all rankers, 0 to 100; none where chrF++ alone decides.
        notes: what the rankers besides said, in words.
    """

    text: str
    origin: str
    chrf: float | None
    status: str
    found: str | None
    total: float | None = None
    notes: str = ""

    @property
    def value(self) -> float:
        """What it is ranked by."""
        return (self.chrf or 0.0) if self.total is None else self.total

    @property
    def in_language(self) -> bool:
        """Not known to be in another language, and not empty."""
        return self.status in ("right", "undecided")

    @property
    def reason(self) -> str:
        """Why it stands where it does, in words."""
        found = f" ({get(self.found).name})" if self.status == "wrong" and self.found else ""
        more = "" if self.total is None else f"; {self.total:.0f} of 100: {self.notes}"
        near = "" if self.chrf is None else f"chrF++ {self.chrf:.0f} to the reference, "
        return f"{self.origin}: {near}language {self.status}{found}{more}"


def judge(text: str, record: Prompt, language: Language, origin: str) -> Candidate:
    """Score one answer to `record` by its language and the reference, if there is one."""
    verdict = identify(text, language)
    if not record.output:
        return Candidate(text, origin, None, verdict.status, verdict.found)
    status = "right" if exact_match(text, record.output) else verdict.status
    return Candidate(text, origin, chrf([text], [record.output]), status, verdict.found)


def foreign_reference(record: Prompt) -> bool:
    """Whether the reference is surely in another language than the prompt asks for, as where a translation failed.

    Short ones are not judged, nor code that was kept as it is, nor CLDR's names: these are right whatever they look
    like. (Of 4,059 of the quickstart none is called wrong; of 1,301 translated texts of UltraFeedback 13 are, which
    quote another language or code at length.)
    """
    kept = isinstance(record, Instruction) and record.response == "kept"
    if record.source == "cldr" or kept or letters_by_script(record.output).total() < MIN_LETTERS:
        return False
    return identify(record.output, get(record.language)).status == "wrong"


def best_in_language(ranked: Sequence[Candidate]) -> Candidate | None:
    """The best that is surely in the language: without a reference nothing else vouches for an undecided one.

    Of 656 answers by Gemma-3-270M to 180 prompts 193 were undecided: a word or two, numbers, names, nonsense.
    """
    return next((candidate for candidate in ranked if candidate.status == "right"), None)


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first: the right language before the wrong one, then by value."""
    return sorted(candidates, key=lambda c: (not c.in_language, -c.value, c.text))
