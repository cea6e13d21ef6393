"""The letter that a written answer to a question with choices gives, in whatever language it is given."""

import re
import unicodedata
from collections.abc import Sequence

LETTERS = "ABCD"
# "A dog" is an article and a dog, in English as in Portuguese; "A is right" and "A and B" are not.
_LETTER = r"(?!A (?!is\b|\S+ [B-D]\b)[a-z])([A-D])(?![A-Za-z\u00c0-\u024f\d'’])"
_AHEAD = re.compile(r"[\W_]*([A-Da-d])(?:[\W_]*(?:\n|$)|\s?[).:\]*]+(?![^\W_])|\s+[-–—]\s)")
_ANNOUNCED = re.compile(rf"\b(?:[Aa]nswer|ANSWER)(?: is:?|:)\s*(?:[Oo]ption|[Cc]hoice)?[\W_]*{_LETTER}")
_ALONE = re.compile(rf"(?<![A-Za-z\u00c0-\u024f\d]){_LETTER}")


def read_letter(output: str, choices: Sequence[str]) -> str | None:
    """The letter that an answer gives. The first of these that applies decides:

    1. the answer begins with a letter that is set off (`B`, `(B)`, `b)`, `B. Paris`), and does not list them all;
    2. a capital letter follows "answer is" or "answer:";
    3. the answer is one of the choices, word by word;
    4. one capital letter stands alone in it, whatever language the rest is in, and no other choice is repeated;
    5. no letter stands alone, and one choice is repeated.

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
    if (ahead := _AHEAD.match(text)) and not _lists(text):
        return ahead[1].upper()
    if announced := _ANNOUNCED.search(text):
        return announced[1]
    said, bare = _bare(text), [_bare(choice) for choice in choices]
    if said in bare:
        return LETTERS[bare.index(said)] if said and bare.count(said) == 1 else None
    alone = set(_ALONE.findall(text))
    repeated = {letter for letter, choice in zip(LETTERS, bare, strict=False) if choice and _holds(said, choice)}
    if len(alone) == 1:
        return alone.pop() if not repeated or alone <= repeated else None
    return repeated.pop() if not alone and len(repeated) == 1 else None


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
