"""Any engine as a translator: it is asked for the translation in plain English, whole text by whole text.

A base model does not end where an answer should: it is shown a few pairs in front, so that what follows its translation
looks like the next pair and can be cut off. The pairs are CLDR's (dates, lists and names), in the very languages.
"""

import datetime
from collections.abc import Iterator, Sequence

import regex

from xllms.engines.protocol import Engine, EngineError, Sampling, Written
from xllms.languages import Language
from xllms.languages.writing import letters_by_script, unicode_scripts
from xllms.recipe.engines import ChatTranslatorSettings

_DAYS = (datetime.date(2024, 3, 5), datetime.date(2019, 7, 21), datetime.date(2022, 11, 12))
_LISTS = (("de", "fr", "ja"), ("ru", "zh", "es"), ("ar", "pt", "hi"))
_TERRITORIES = ("EG", "GR", "JP", "NO", "ZA", "BR")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "「": "」", "‘": "’", "”": "”"}
# The headings of the Alpaca prompt, which a base model writes again.
_HEADING = regex.compile(r"(?:^|\n)\s*###\s*(?:Instruction|Input|Response)\b")


class ChatTranslator:
    """Translates by asking an engine.

    Args:
        settings: pairs in front, and the longest answer.
        engine: who is asked.

    Attributes:
        name: `chat:` and the engine's.
        usage: the engine's own.
    """

    def __init__(self, settings: ChatTranslatorSettings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.name = f"chat:{engine.name}"
        self.usage = engine.usage

    def supports(self, source: Language, target: Language) -> bool:
        """Whether the two are not the same: a model can be asked for any."""
        return source != target

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        """Each text in `target`, in order; empty where the engine gave no whole answer.

        Raises:
            EngineError: the two languages are the same, or the engine cannot go on.
        """
        if not self.supports(source, target):
            raise EngineError(f"{self.name}: asked to translate from {source.name} to itself")
        said = {text: "" for text in texts if text.strip()}
        for one_line in (False, True):
            group = [text for text in said if self._one_line(text) == one_line]
            asked = prompts(group, source, target, self.settings.examples)
            sampling = Sampling(one_line=one_line)
            answers = self.engine.write(asked, self.settings.max_new_tokens, sampling) if asked else []
            said |= {text: _said(answer, text, source, target) for text, answer in zip(group, answers, strict=True)}
        return [said.get(text, text) for text in texts]

    def _one_line(self, text: str) -> bool:
        """Whether the answer is its first line. Without pairs that show it, a chat model may begin with a remark."""
        return self.settings.examples > 0 and len(text.strip().splitlines()) == 1


def prompts(texts: Sequence[str], source: Language, target: Language, examples: int) -> list[tuple[str, str]]:
    """(instruction, input) for each text; with examples, the input is labelled as they are."""
    instruction = (
        f"Translate the following text from {source.name} to {target.name}. Keep its line breaks. "
        "Answer with the translation alone."
    )
    pairs = example_pairs(source, target)[:examples]
    if not pairs:
        return [(instruction, text) for text in texts]
    shown = "\n\n".join(f"{source.name}: {before}\n{target.name}: {after}" for before, after in pairs)
    return [(f"{instruction}\n\n{shown}", f"{source.name}: {text}\n{target.name}:") for text in texts]


def example_pairs(source: Language, target: Language) -> list[tuple[str, str]]:
    """The same things said in both languages; none where CLDR lacks one of them."""
    if not source.cldr or not target.cldr:
        return []
    both = zip(_phrases(source), _phrases(target), strict=True)
    return [(before, after) for before, after in both if before and after and before != after]


def _phrases(language: Language) -> Iterator[str]:
    """A date, a list of languages, a country, and so on; empty where the locale has no words of its own for one."""
    from babel import Locale
    from babel.dates import format_date
    from babel.lists import format_list

    locale = Locale.parse(language.cldr)
    for number, territory in enumerate(_TERRITORIES):
        if number < len(_DAYS):
            # CLDR's root writes months as M03, which a locale without its own inherits.
            date = str(format_date(_DAYS[number], "long", locale=locale))
            yield date if _own(date, language) and not regex.search(r"M\d\d", date) else ""
            names = [locale.languages.get(code, "") for code in _LISTS[number]]
            yield format_list(names, locale=locale) if all(_own(name, language) for name in names) else ""
        name = locale.territories.get(territory, "")
        yield name if _own(name, language) else ""


def _own(text: str, language: Language) -> bool:
    """Whether a text has letters, and these are of the language's script."""
    scripts = letters_by_script(text)
    return bool(scripts) and set(scripts) <= set(unicode_scripts(language.script))


def _said(answer: Written, text: str, source: Language, target: Language) -> str:
    """The translation, if there is all of it: the answer ended, or went on to something else."""
    whole = answer.ended or _first(answer.text, text, source) != answer.text
    return clean(answer.text, text, source, target) if whole and not answer.error else ""


def clean(answer: str, text: str, source: Language, target: Language) -> str:
    """The translation within an answer.

    Args:
        answer: what the engine wrote.
        text: that it was to translate.
        source: language of the text.
        target: language of the answer.

    Returns:
        The answer without a label in front, quotation marks around it that the text has none of, and what a model that
        does not stop writes after it: the next pair, or the headings of the prompt.
    """
    answer = _first(answer, text, source).strip()
    label = f"{target.name}:"
    if answer.startswith(label) and not text.strip().startswith(label):
        answer = answer[len(label) :].strip()
    while _quoted(answer) and not _quoted(text.strip()):
        answer = answer[1:-1].strip()
    return answer


def _first(answer: str, text: str, source: Language) -> str:
    """What stands before the next pair or heading; a text that has such a thing itself may have it translated."""
    for sign in (regex.compile(rf"(?:^|\n)\s*{regex.escape(source.name)}:"), _HEADING):
        if not sign.search(text):
            answer = sign.split(answer, maxsplit=1)[0]
    return answer


def _quoted(text: str) -> bool:
    """Whether one pair of quotation marks holds all of the text."""
    closing = _QUOTES.get(text[:1])
    if closing is None or len(text) < 2 or text[-1] != closing:
        return False
    return closing not in text[1:-1] and text[0] not in text[1:-1]
