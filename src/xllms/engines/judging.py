"""A language model as judge: an engine with a rubric, answers in JSON that are checked, each two in both orders.

A judge prefers what it reads first (or last) however good it is: a pair counts when both orders are answered, for half
a win each, and how often the two agree is to be stated. Generative judges lose about 3 points of accuracy outside
English (M-RewardBench, arXiv 2410.15522), and know least of the languages that need it most: look at the agreement.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from xllms.engines.protocol import Engine, Sampling
from xllms.languages import get

_GREEDY = Sampling()
_AGAIN = Sampling(temperature=0.7, top_p=0.95, seed=1)  # the same request would bring the same malformed answer
_RUBRIC = (
    "Judge by: correctness (is it true, and what was asked?), coherence (does it hold together, without repeating "
    "itself?), naturalness (would a native speaker write so?), and language: the answer must be in {language}. "
    "Length is no merit."
)
_REFERENCE = "[Reference: a good answer]\n{reference}\n[End of reference]\n\n"
_POINTWISE = (
    "You judge an answer to an instruction. {rubric}\n\n[Instruction]\n{asked}\n[End of instruction]\n\n"
    "{reference}[Answer]\n{answer}\n[End of answer]\n\n"
    'Reply with one JSON object and nothing else: {{"correctness": 1 to 5, "coherence": 1 to 5, '
    '"naturalness": 1 to 5, "in_language": true or false}}'
)
_PAIRWISE = (
    "You compare two answers to an instruction. {rubric} An answer in another language loses.\n\n"
    "[Instruction]\n{asked}\n[End of instruction]\n\n{reference}[Answer A]\n{first}\n[End of answer A]\n\n"
    "[Answer B]\n{second}\n[End of answer B]\n\n"
    'Reply with one JSON object and nothing else: {{"better": "A", "B" or "tie"}}'
)


class Marks(BaseModel):
    """A judge's word on one answer."""

    correctness: int = Field(ge=1, le=5)
    coherence: int = Field(ge=1, le=5)
    naturalness: int = Field(ge=1, le=5)
    in_language: bool


class Preferred(BaseModel):
    """A judge's word on two answers."""

    better: Literal["A", "B", "tie"]


Word = TypeVar("Word", Marks, Preferred)


@dataclass(frozen=True)
class Case:
    """Two answers to one instruction.

    Attributes:
        instruction: what was asked.
        input: further text that it is about; may be empty.
        first: an answer.
        second: the other.
        language: FLORES code of the one to answer in.
        reference: a good answer that the judge is shown, if there is one.
    """

    instruction: str
    input: str
    first: str
    second: str
    language: str
    reference: str = ""


@dataclass(frozen=True)
class PointCase:
    """One answer to an instruction; the attributes are those of `Case`."""

    instruction: str
    input: str
    answer: str
    language: str
    reference: str = ""


@dataclass(frozen=True)
class PairVerdict:
    """What a judge says of a case in both orders.

    Attributes:
        forward: points of the first answer where it was shown first: 1 a win, 0.5 a tie, 0 a loss; None: unparsed.
        backward: its points where it was shown second.
        malformed: of the two, how many were no verdict at first and asked for once more.
        refused: of the two, how many the engine refused to answer (too long, filtered); not asked for again.
        error: why the first of these was refused.
    """

    forward: float | None
    backward: float | None
    malformed: int = 0
    refused: int = 0
    error: str = ""

    @property
    def points(self) -> float | None:
        """Points of the first answer over both orders; None where an order has no verdict."""
        return None if self.forward is None or self.backward is None else (self.forward + self.backward) / 2

    @property
    def agree(self) -> bool | None:
        """Whether both orders say the same; None where an order has no verdict."""
        return None if self.points is None else self.forward == self.backward

    @property
    def unparsed(self) -> int:
        """Orders without a verdict, 0 to 2."""
        return (self.forward is None) + (self.backward is None)


@dataclass(frozen=True)
class PointVerdict:
    """What a judge says of one answer: `marks`, None where there are none; the others as in `PairVerdict`."""

    marks: Marks | None
    malformed: int = 0
    refused: int = 0
    error: str = ""


def judge_pairs(engine: Engine, cases: Sequence[Case], max_new_tokens: int = 256) -> list[PairVerdict]:
    """One verdict per case, each asked for in both orders: two requests, and two more where they bring nonsense.

    Args:
        engine: who judges.
        cases: what is compared.
        max_new_tokens: limit of one verdict.

    Raises:
        EngineError: the engine cannot go on.
    """
    asked = []
    for case in cases:
        for one, other in ((case.first, case.second), (case.second, case.first)):
            asked.append(_PAIRWISE.format(**_common(case), first=one, second=other))
    found = _ask(engine, asked, Preferred, max_new_tokens)
    return [
        PairVerdict(
            _points(there.word, "A"),
            _points(back.word, "B"),
            there.malformed + back.malformed,
            bool(there.error) + bool(back.error),
            there.error or back.error,
        )
        for there, back in zip(found[::2], found[1::2], strict=True)
    ]


def judge_points(engine: Engine, cases: Sequence[PointCase], max_new_tokens: int = 256) -> list[PointVerdict]:
    """Marks per answer; arguments and errors as in `judge_pairs`."""
    asked = [_POINTWISE.format(**_common(case), answer=case.answer) for case in cases]
    found = _ask(engine, asked, Marks, max_new_tokens)
    return [PointVerdict(one.word, one.malformed, int(bool(one.error)), one.error) for one in found]


def parse(text: str, form: type[Word]) -> Word | None:
    """The first JSON object in the text if it has the form, else None; what stands around it is let pass."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        return form.model_validate(value, strict=True)
    except (json.JSONDecodeError, RecursionError, ValidationError):
        return None


def _common(case: Case | PointCase) -> dict[str, str]:
    return {
        "rubric": _RUBRIC.format(language=get(case.language).name),
        "asked": f"{case.instruction}\n\n{case.input}" if case.input else case.instruction,
        "reference": _REFERENCE.format(reference=case.reference) if case.reference else "",
    }


def _points(word: Preferred | None, shown_as: Literal["A", "B"]) -> float | None:
    """Points of the answer that was shown under this letter."""
    if word is None:
        return None
    return 0.5 if word.better == "tie" else float(word.better == shown_as)


@dataclass(frozen=True)
class _Said(Generic[Word]):
    """A checked answer; `malformed`: 1 where it was asked for once more, `error`: why the engine gave none."""

    word: Word | None
    malformed: int = 0
    error: str = ""


def _ask(engine: Engine, prompts: Sequence[str], form: type[Word], limit: int) -> list[_Said[Word]]:
    """An answer to each prompt; what is malformed is asked for once more, what is refused would be refused again."""
    said = _once(engine, prompts, form, limit, _GREEDY)
    again = [at for at, one in enumerate(said) if one.word is None and not one.error]
    for at, one in zip(again, _once(engine, [prompts[at] for at in again], form, limit, _AGAIN), strict=True):
        said[at] = replace(one, malformed=1)
    return said


def _once(
    engine: Engine, prompts: Sequence[str], form: type[Word], limit: int, sampling: Sampling
) -> list[_Said[Word]]:
    if not prompts:
        return []
    written = engine.write([(prompt, "") for prompt in prompts], limit, sampling, schema=form.model_json_schema())
    return [_Said(None, error=answer.error) if answer.error else _Said(parse(answer.text, form)) for answer in written]
