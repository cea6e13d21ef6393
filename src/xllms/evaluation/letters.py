"""The letter that a written answer to a question with choices gives, in whatever language it is given.

A model that repeats the choices instead of choosing must not be taken to answer A: a letter that has company is none.
"""

import re
import unicodedata
from collections.abc import Sequence

LETTERS = "ABCD"
# "A dog" is an article and a dog, in English as in Portuguese; "A is right" and "A and B" are not.
_LETTER = r"(?!A (?!is\b|\S+ [B-D]\b)[a-z])([A-D])(?![A-Za-z\u00c0-\u024f\d'’])"
_AHEAD = re.compile(r"[\W_]*([A-Da-d])(?:[\W_]*(?:\n|$)|\s?[).:\]*]+(?![^\W_])|\s+[-–—]\s)")
_ANNOUNCED = re.compile(rf"\b(?:[Aa]nswer|ANSWER)(?: is:?|:)\s*(?:[Oo]ption|[Cc]hoice)?[\W_]*{_LETTER}")
_ALONE = re.compile(rf"(?<![A-Za-z\u00c0-\u024f\d]){_LETTER}")
# A full stop ends a sentence as well: it sets a letter off only where text follows.
_SET_OFF = re.compile(r"(?<![^\W_])(?:([A-D])|([a-d]))(?:\s?[)\]:*]|\.(?=\s*[^\W_])|\s+[-–—]\s)")
_AND = (
    "and or und oder et ou y o e i ili или и та або au na ve veya atau dan hoặc và และ หรือ 和 或 或者 与 及 と または "
    "か 또는 와 과 أو و یا और या এবং বা"
)
_JOINED = re.compile(
    rf"[\s)\]*:.]*(?:[,/&+、،，]|\b(?:{'|'.join(_AND.split())})\b|[和或与及とか]|또는)[\W_]*(?:{_LETTER}|([a-d])[\W_]*$)"
)
_DENIED = re.compile(r"\bnot[\W_]+[A-Da-d]\b")
_SENTENCE_END = re.compile(r"[\n!?。！？]|\.(?!\w)")


def read_letter(output: str, choices: Sequence[str]) -> str | None:
    """The letter that an answer gives. The first of these that applies decides:

    1. the answer begins with a letter that is set off (`B`, `(B)`, `b)`, `B. Paris`) and has no company in its line;
    2. a capital letter follows "answer is" or "answer:" and has no company in its sentence;
    3. the answer is one of the choices, word by word;
    4. one capital letter stands alone in it, whatever language the rest is in, and no other choice is repeated;
    5. no letter stands alone, and one choice is repeated.

    Company is another letter that is set off, or joined by a comma, a slash, "and" or "or", or at the head of the next
    line; not one in a choice's own text, after "not", or in passing ("B. Paris, as A is wrong"). With company, there is
    no answer, except that one may be announced after a list.

    Args:
        output: as the model wrote it.
        choices: the texts beside the letters.

    Returns:
        None where nothing is found, or more than one, or a letter that no choice has.
    """
    found = _found(output, choices)
    return found if found is not None and found in LETTERS[: len(choices)] else None


def _found(output: str, choices: Sequence[str]) -> str | None:
    text = re.sub(r"\([a-d]\)", lambda letter: letter[0].upper(), unicodedata.normalize("NFKC", output))
    ahead = _AHEAD.match(text)
    if ahead and not _has_company(ahead[1], text[ahead.end(1) :].partition("\n")[0], choices) and not _lists(text):
        return ahead[1].upper()
    if announced := _ANNOUNCED.search(text):
        return None if _has_list(announced, text, choices) else announced[1]
    if ahead:
        return None
    said, bare = _bare(text), [_bare(choice) for choice in choices]
    if said in bare:
        return LETTERS[bare.index(said)] if said and bare.count(said) == 1 else None
    alone = set(_ALONE.findall(text))
    repeated = {letter for letter, choice in zip(LETTERS, bare, strict=False) if choice and _holds(said, choice)}
    if len(alone) == 1:
        return alone.pop() if not repeated or alone <= repeated else None
    return repeated.pop() if not alone and len(repeated) == 1 else None


def _has_list(announced: re.Match[str], text: str, choices: Sequence[str]) -> bool:
    """Whether what is announced are several letters, or the choices."""
    letter, rest = announced[1], text[announced.end(1) :]
    line = rest.partition("\n")[0]
    sentence = _SENTENCE_END.split(rest, maxsplit=1)[0]
    # "Answer: A. Paris B. Rome": the full stop is the letter's own where the choice stands behind it.
    if _bare(line).startswith(_bare(choices[LETTERS.index(letter)]) if letter in LETTERS[: len(choices)] else "\n"):
        sentence = line
    return _has_company(letter, sentence, choices) or _lists(text[announced.start(1) :])


def _has_company(letter: str, rest: str, choices: Sequence[str]) -> bool:
    """Whether what follows a letter names another one as it does the first."""
    for choice in sorted(choices, key=len, reverse=True):
        if len(choice) > 1:  # a choice may be "Vitamin C: much of it"
            rest = re.sub(re.escape(unicodedata.normalize("NFKC", choice)), "x", rest, flags=re.IGNORECASE)
    rest = _DENIED.sub("", rest)
    named = {found[1] or found[2] for found in _SET_OFF.finditer(rest) if _alike(found, letter)}
    if joined := _JOINED.match(rest):
        named.add(joined[1] or joined[2])
    return any(other.upper() != letter.upper() for other in named)


def _alike(found: re.Match[str], letter: str) -> bool:
    """Whether a mark is one of the same list; small letters stand in words such as "a.m."."""
    return found[0].endswith(")") or bool(found[1]) == letter.isupper()


def _lists(text: str) -> bool:
    """Whether the first lines are the choices, one a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    ahead = [_AHEAD.match(line) for line in lines[:2]]
    return len(ahead) == 2 and all(ahead) and len({found[1].upper() for found in ahead if found}) == 2


def _holds(text: str, choice: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text) is not None


def _bare(text: str) -> str:
    """Without case, outer punctuation and the form of spaces."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    inner = re.search(r"[^\W_].*[^\W_]|[^\W_]", words)
    return inner[0] if inner else ""
