"""Whether a text is in the language that was asked for: by its script, its words, and pycld2.

Made for short answers, where a wrong accusation costs more than a missed one: what cannot be told is
`undecided`. In order: the script; the words that CLDR has in the expected language and in its rivals; the
reliable answers of pycld2.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Literal

import pycld2
import regex

from xllms.languages.registry import Language, UnknownLanguage, get, group, read_table
from xllms.languages.vocabulary import connectives, speakers, vocabulary, words
from xllms.languages.writing import KANA, han_forms, letters_by_script, unicode_scripts

# Words that hardly any language but English writes: pycld2 takes names enough for English in any language.
ENGLISH_WORDS = frozenset(
    word
    for line in (
        "the and of with that this these those what which who whose when where why how",
        "they their them there she her his you your we our my it's i'm i've i'll",
        "don't doesn't didn't can't won't were would could should been being",
        "because about from into than then if",
    )
    for word in line.split()
)
MIN_LETTERS = 24
MIN_WORDS = 4
MIN_PERCENT = 80
# Share of letters in words that CLDR must have before its words decide; and how alike two spellings are.
KNOWN = 0.75
LIKE = 0.72
# A sentence on a foreign team or firm can be more than half Latin letters in any language.
MIXED = 0.25

Status = Literal["right", "wrong", "undecided", "empty"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `identify` says of a text; `found` is the FLORES code of the language it is in, where known."""

    status: Status
    found: str | None
    reason: str


def identify(text: str, expected: Language) -> Verdict:
    """Whether the text is in the expected language, in another one, or too short or common to tell.

    Args:
        text: a word, a line or a page; line breaks and markup characters are not letters and do not count.
        expected: the language that was asked for.

    Returns:
        `right`, `wrong`, `undecided` or `empty`, with the language found and the reason in a few words.
    """
    if not text.strip():
        return Verdict("empty", None, "no text")
    # Nearly every text is in scripts of the expected language alone, and then its letters need no counting.
    script = expected.script
    sure = own_letters(script).search(text) and not other_letters(script).search(text)
    if not sure and (verdict := _by_script(text, expected)):
        return verdict
    if "Hani" in unicode_scripts(script):
        return _identify_han(text, expected)
    return _by_words(text, expected) or _by_cld2(text, expected)


@cache
def own_letters(script: str) -> "regex.Pattern[str]":
    """Finds runs of letters of an ISO 15924 script."""
    return regex.compile(rf"[\p{{L}}&&[{_classes(script)}]]+", regex.V1)


@cache
def other_letters(script: str) -> "regex.Pattern[str]":
    """Finds runs of letters of other scripts than that one; some letters are common to all."""
    return regex.compile(rf"[\p{{L}}--[{_classes(script)}\p{{Script=Common}}\p{{Script=Inherited}}]]+", regex.V1)


def _classes(script: str) -> str:
    return "".join(rf"\p{{Script={name}}}" for name in unicode_scripts(script))


def _by_script(text: str, expected: Language) -> Verdict | None:
    """A verdict where there are no letters, or most are in a script that is not the language's."""
    letters, scripts = letters_by_script(text), unicode_scripts(expected.script)
    if not letters:
        return Verdict("undecided", None, "no letters")
    dominant = letters.most_common(1)[0][0]
    if dominant in scripts:
        return None
    if sum(letters[script] for script in scripts) >= MIXED * letters.total():
        return Verdict("undecided", None, f"{expected.script} mixed with {dominant}")
    share = letters[dominant] / letters.total()
    return Verdict("wrong", detect(text), f"{share:.0%} of the letters are {dominant}, not {expected.script}")


def detect(text: str) -> str | None:
    """FLORES code of the language that the text is most likely in, or None where that cannot be told."""
    letters = letters_by_script(text)
    if not letters:
        return None
    dominant = letters.most_common(1)[0][0]
    if any(letters[kana] for kana in KANA):
        return "jpn_Jpan"
    if dominant == "Hani":
        simplified, traditional = han_forms(text)
        return None if simplified == traditional else "zho_Hans" if simplified > traditional else "zho_Hant"
    only = _only_language(dominant)
    if only is not None:
        return only.code
    claim, _ = _cld2(text, dominant)
    if claim is not None:
        return claim.code
    return _by_vocabulary_alone(words(text), dominant)


def _identify_han(text: str, expected: Language) -> Verdict:
    """Japanese needs kana; Chinese without them is told by letters that only one of its forms has."""
    kana = any(letters_by_script(text)[name] for name in KANA)
    if expected.script == "Jpan":
        if kana:
            return Verdict("right", expected.code, "kana")
        return Verdict("undecided", None, "Han letters without kana")
    if kana:
        return Verdict("wrong", "jpn_Jpan", "kana")
    simplified, traditional = han_forms(text)
    own, other = (simplified, traditional) if expected.script == "Hans" else (traditional, simplified)
    if own > other and expected.code != "yue_Hant":
        return Verdict("right", expected.code, f"{own} letters of this form of Chinese")
    if other > own:
        found = "zho_Hant" if expected.script == "Hans" else "zho_Hans"
        return Verdict("wrong", found, f"{other} letters of the other form of Chinese")
    return Verdict("undecided", None, "letters that both forms of Chinese have")


def _by_words(text: str, expected: Language) -> Verdict | None:
    """A verdict from the words that CLDR knows, or None if it does not know enough of them."""
    if not expected.cldr or _only_language(expected.script) == expected or _mostly_unknown(text, expected.script):
        return None
    found = words(text)
    if not found:
        return None
    rivals = _candidates(found, expected)
    english = _english()
    if _known(found, expected) >= KNOWN:
        if english in rivals and not _only_in(found, expected, english):
            return Verdict("undecided", None, f"words that {expected.name} and English share")
        if all(_known(found, rival) <= _known(found, expected) for rival in rivals):
            return Verdict("right", expected.code, f"CLDR has these words in {expected.name}")
    speaking = [rival for rival in rivals if _speaks_for(found, rival, expected)]
    if english in speaking:
        return Verdict("wrong", english.code, "words that CLDR has in English only")
    if not speaking or any(_confusable(expected, rival) for rival in speaking):
        return None
    # Haitian names most countries as French does: of equals, one of the hundred is likelier.
    first, *others = sorted(speaking, key=lambda rival: _likelihood(found, rival), reverse=True)
    others = [rival for rival in others if _likelihood(found, rival) == _likelihood(found, first)]
    reason = f"words that CLDR has in {first.name}, not in {expected.name}"
    return Verdict("wrong", None if others else first.code, reason)


def _mostly_unknown(text: str, script: str) -> bool:
    """Whether words that CLDR has in no language of the script are too many for its words to decide.

    Reads only what stands between spaces and is all letters, which is a word in any case: in a sentence that does.
    """
    index, folded = speakers(script), text.casefold()
    left = (1 - KNOWN) * len(folded)
    for word in folded.split():
        if word not in index and word.isalpha():
            left -= len(word)
            if left < 0:
                return True
    return False


def _candidates(found: list[str], expected: Language) -> list[Language]:
    """Other languages of the script in which CLDR knows most of the words."""
    index = speakers(expected.script)
    letters: dict[Language, int] = {}
    for word in found:
        for rival in index.get(word, ()):
            letters[rival] = letters.get(rival, 0) + len(word)
    enough = KNOWN * sum(map(len, found))
    some = [rival for rival, known in letters.items() if known >= enough and rival != expected]
    return sorted(some, key=lambda rival: rival.code)


@cache
def _english() -> Language:
    return get("eng_Latn")


def _likelihood(found: list[str], language: Language) -> tuple[float, bool]:
    return _known(found, language), "hundred" in language.groups


def _speaks_for(found: list[str], rival: Language, expected: Language) -> bool:
    """Whether the rival has words that the expected language has neither as such nor in a like spelling."""
    if _only_in(found, expected, rival) or _joined_as_in(found, expected, rival):
        return False
    own, others = vocabulary(expected), vocabulary(rival)
    foreign = [word for word in found if len(word) > 1 and word in others and word not in own]
    if any(word in connectives(rival) for word in foreign):
        return True
    return any(not _is_like_own(word, expected) for word in foreign)


def _joined_as_in(found: list[str], expected: Language, rival: Language) -> bool:
    """Whether the list is joined by a word of the expected language, not by one of the rival's."""
    own, others = connectives(expected), connectives(rival)
    return any(word in own for word in found[1:-1]) and not any(word in others for word in found[1:-1])


@cache
def _is_like_own(word: str, expected: Language) -> bool:
    return bool(get_close_matches(word, vocabulary(expected), n=1, cutoff=LIKE))


def _known(found: list[str], language: Language) -> float:
    """Share of the text's letters in words that CLDR has in that language."""
    known = vocabulary(language)
    return sum(len(word) for word in found if word in known) / sum(map(len, found))


def _only_in(found: list[str], language: Language, other: Language) -> int:
    """Letters of the text in words that CLDR has in the first language and not in the second."""
    own, others = vocabulary(language), vocabulary(other)
    return sum(len(word) for word in found if word in own and word not in others)


def _by_vocabulary_alone(found: list[str], script: str) -> str | None:
    """The one language of the script that CLDR knows more of the words in than in any other."""
    index = speakers(script)
    some = {language for word in found for language in index.get(word, ())}
    known = sorted(((_known(found, language), language.code) for language in some), reverse=True)
    if known and known[0][0] >= KNOWN and (len(known) == 1 or known[0][0] > known[1][0]):
        return known[0][1]
    return None


def _by_cld2(text: str, expected: Language) -> Verdict:
    """pycld2's word: its yes counts at once, its no only on a longer text and against no close relative."""
    only = _only_language(expected.script)
    claim, percent = _cld2(text, expected.script)
    if claim == expected or (claim is None and only == expected):
        return Verdict("right", expected.code, "pycld2" if claim else f"the only language in {expected.script}")
    found, english = words(text), _english()
    if _is_english(found, expected, claim):
        return Verdict("right" if expected == english else "wrong", english.code, "English words")
    if claim is None or claim == english:
        return Verdict("undecided", None, "pycld2 cannot tell" if claim is None else "English, but no English words")
    if _confusable(expected, claim):
        return Verdict("undecided", None, f"{expected.name} and {claim.name} are too close")
    letters = letters_by_script(text).total()
    if letters < MIN_LETTERS or len(found) < MIN_WORDS or percent < MIN_PERCENT:
        return Verdict("undecided", None, f"too short to be sure that it is {claim.name}")
    if not _known_to_cld2(expected):
        return Verdict("undecided", None, f"pycld2 does not know {expected.name}")
    if _joined_as_in(found, expected, claim) or _only_in(found, expected, claim) * 8 > letters:
        return Verdict("undecided", None, f"words that CLDR has in {expected.name}")
    return Verdict("wrong", claim.code, f"pycld2: {claim.name}")


def _is_english(found: list[str], expected: Language, claim: Language | None) -> bool:
    """Whether the words show English: one in twenty if pycld2 says so too, else two in five."""
    if expected.script != "Latn" or not found:
        return False
    own = vocabulary(expected) if expected.code != "eng_Latn" else frozenset()
    english = sum(word in ENGLISH_WORDS and word not in own for word in found)
    if claim is not None:
        return claim.code == "eng_Latn" and english >= max(1, len(found) / 20)
    return english >= max(2, 0.4 * len(found))


def _cld2(text: str, script: str) -> tuple[Language | None, int]:
    """pycld2's reliable answer as a registry language, and the percentage of the text it holds for."""
    clean = text if text.isprintable() else text.translate({ord(c): " " for c in set(text) if not c.isprintable()})
    try:
        reliable, _, details = pycld2.detect(clean.encode("utf-8", "ignore"), isPlainText=True)
    except pycld2.error:
        return None, 0
    _, tag, percent, _ = details[0]
    return (_language_of(tag, script) if reliable else None), percent


@cache
def _language_of(tag: str, script: str) -> Language | None:
    if tag in ("un", "xxx"):
        return None
    # pycld2 has one tag for these in either script; the registry has Serbian in Cyrillic only.
    code = {("sr", "Latn"): "hrv_Latn", ("sr-ME", "Latn"): "hrv_Latn", ("ku", "Arab"): "ckb_Arab"}.get((tag, script))
    try:
        found = get(code or tag)
    except UnknownLanguage:
        return None
    return found if set(unicode_scripts(found.script)) & set(unicode_scripts(script)) else None


@cache
def _only_language(script: str) -> Language | None:
    """The one language of the hundred in that script; rarer ones beside it are pycld2's to claim."""
    members = [language for language in group("hundred") if script in unicode_scripts(language.script)]
    return members[0] if len(members) == 1 else None


@cache
def _known_to_cld2(language: Language) -> bool:
    tags = [tag for name, tag in pycld2.LANGUAGES if name in pycld2.DETECTED_LANGUAGES]
    return any(_language_of(tag, language.script) == language for tag in tags)


@cache
def _confusable(one: Language, other: Language) -> bool:
    """Whether nobody can tell these two apart in a short text, and pycld2 often cannot in a long one."""
    pair = {one.code[:3], other.code[:3]}
    return any(pair <= set(line.split()) for line in read_table("confusable.csv").split("\n")[1:])
