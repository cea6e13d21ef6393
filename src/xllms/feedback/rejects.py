"""Answers made to be rejected, each a pure function of the record and its parallels, with the reason in words.

What a model must learn is seldom in its own samples often enough: `wrong_language` is right but for its language,
`code_mixed` slips into another one, `untranslated` is the English answer left standing, `truncated` stops early, and
`other_question` is good text that answers something else.

A prompt without a reference lends its best sample instead, as far as that goes (`from_samples`).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import regex

from xllms.feedback.candidates import Candidate, best_in_language
from xllms.languages import Language, get
from xllms.recipe.feedback import RejectKind
from xllms.records import Prompt

_ENGLISH = "eng_Latn"
_ENGLISH_SHARE = 0.5  # answering in English is the most common way to miss the language
_SHORTEST_CUT = 4  # characters that an answer must have to be cut

_FROM_SAMPLES = ("code_mixed", "truncated", "other_question")

Parallel = Mapping[str, Prompt]


@dataclass(frozen=True)
class Reject:
    """An answer made to be rejected; `language` is the FLORES code of the one it should not be in, if that is it."""

    kind: RejectKind
    text: str
    reason: str
    language: str | None = None

    @property
    def right_elsewhere(self) -> bool:
        """Right in everything but its language."""
        return self.kind in ("wrong_language", "untranslated")


def wrong_language(
    record: Prompt, same_fact: Parallel, language: Language, draw: random.Random
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


def in_wrong_language(text: str, code: str) -> Reject:
    """What `wrong_language` found, as a reject."""
    return Reject("wrong_language", text, f"wrong language: the same fact in {get(code).name}", code)


def code_mixed(record: Prompt, same_fact: Parallel, language: Language, draw: random.Random) -> Reject | None:
    """The answer with its middle third in another language; None where that changes nothing or leaves nothing."""
    found = wrong_language(record, same_fact, language, draw)
    if found is None:
        return None
    text, code = found
    own, others = _pieces(record.output), _pieces(text)
    if len(own) < 2:
        return None
    start = len(own) // 3
    stop = max(start + 1, 2 * len(own) // 3)
    middle = others[len(others) // 3 : max(len(others) // 3 + 1, 2 * len(others) // 3)]
    parts = (_join(own[:start], record.output), _join(middle, text), _join(own[stop:], record.output))
    mixed = " ".join(part for part in parts if part)
    if mixed.casefold() in (record.output.casefold(), text.casefold()):
        return None
    return Reject("code_mixed", mixed, f"code-mixed: {get(code).name} words in the answer", code)


def untranslated(record: Prompt, same_fact: Parallel) -> Reject | None:
    """The English answer; None where there is none or it reads the same."""
    english = same_fact.get(_ENGLISH)
    if record.language == _ENGLISH or english is None or english.output.casefold() == record.output.casefold():
        return None
    return Reject("untranslated", english.output, "untranslated: the answer in English", _ENGLISH)


def truncated(record: Prompt, draw: random.Random) -> Reject | None:
    """The answer cut off between three and seven tenths of it, inside a word where one is there; None if too short."""
    characters = regex.findall(r"\X", record.output)
    if len(characters) < _SHORTEST_CUT:
        return None
    places = range(max(1, len(characters) * 3 // 10), len(characters) * 7 // 10 + 1)
    inside = [at for at in places if characters[at - 1].strip() and characters[at].strip()]
    text = "".join(characters[: draw.choice(inside or list(places))]).strip()
    if not text or text == record.output:
        return None
    return Reject("truncated", text, f"truncated: cut off (after {len(text)} of {len(record.output)} characters)")


def other_question(record: Prompt, same_language: Sequence[Prompt], draw: random.Random) -> Reject | None:
    """The answer to another prompt in the same language, of the same kind if there is one; None if none differs."""
    others = [
        other
        for other in same_language
        if (other.instruction, other.input) != (record.instruction, record.input)
        and not (record.parallel_id and other.parallel_id == record.parallel_id)
        and other.output.casefold() != record.output.casefold()
    ]
    if not others:
        return None
    text = draw.choice([other for other in others if other.kind == record.kind] or others).output
    return Reject("other_question", text, "other question: answers something that was not asked")


def construct(
    kinds: Sequence[RejectKind],
    record: Prompt,
    same_fact: Parallel,
    same_language: Sequence[Prompt],
    draw: random.Random,
) -> list[Reject]:
    """The rejects of these kinds that this record allows, in order, no text twice.

    `draw` is read for `wrong_language` alone; the others draw by record and kind, so that one more kind moves none.
    """
    language = get(record.language)
    made: list[Reject | None] = []
    for kind in kinds:
        own_draw = random.Random(f"{kind}:{record.id}")
        if kind == "wrong_language":
            found = wrong_language(record, same_fact, language, draw)
            made.append(in_wrong_language(*found) if found else None)
        elif kind == "code_mixed":
            made.append(code_mixed(record, same_fact, language, own_draw))
        elif kind == "untranslated":
            made.append(untranslated(record, same_fact))
        elif kind == "truncated":
            made.append(truncated(record, own_draw))
        else:
            made.append(other_question(record, same_language, own_draw))
    by_text: dict[str, Reject] = {}
    for reject in made:
        if reject is not None and reject.text != record.output:
            by_text.setdefault(reject.text, reject)
    return list(by_text.values())


def answered(record: Prompt, ranked: Sequence[Candidate]) -> Prompt | None:
    """The prompt with its reference, or with the best sample that is surely in the language; None without either.

    Args:
        record: the prompt.
        ranked: its samples, best first.
    """
    if record.output:
        return record
    best = best_in_language(ranked)
    return record.model_copy(update={"output": best.text}) if best else None


def from_samples(
    kinds: Sequence[RejectKind],
    record: Prompt,
    ranked: Sequence[Candidate],
    same_language: Sequence[Prompt],
    draw: random.Random,
) -> list[Reject]:
    """The rejects of a prompt without a reference, from its best sample (`record` of `answered`).

    `code_mixed` takes its other words from a sample that came in another language. `wrong_language` and `untranslated`
    are left out: that such an answer is right but for its language is not known; samples like it are rejected anyway.
    """
    elsewhere = {c.found: record.model_copy(update={"output": c.text}) for c in ranked if c.status == "wrong"}
    parallel = {code: other for code, other in elsewhere.items() if code is not None}
    return construct([kind for kind in kinds if kind in _FROM_SAMPLES], record, parallel, same_language, draw)


def _pieces(text: str) -> list[str]:
    """Words; or characters, where a script such as Thai writes no spaces."""
    return text.split() if len(text.split()) > 1 else list(regex.findall(r"\X", text.strip()))


def _join(pieces: Sequence[str], text: str) -> str:
    return (" " if len(text.split()) > 1 else "").join(pieces)
