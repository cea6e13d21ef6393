"""Benchmark `mgsm`: grade-school arithmetic in eleven languages (Shi et al. 2022), 250 problems each.

Asked as the data's authors ask for reasoning in the problem's language, "Question: ... Step-by-Step Answer:" in its own
words, which are those of lm-evaluation-harness's `mgsm_native_cot`. Models reason in English when they may, so the
off-target rate stands beside accuracy. The engine puts the run's template around this prompt, the harness nothing:
figures compare between models asked here, and only roughly with the harness's.

The answer is the last number, as in lm-evaluation-harness's `flexible-extract`, but read as a number: that rule deletes
every full stop, so that 18.50 counts as 1850, and knows ASCII digits only. MGSM's answers are whole numbers, written
`276,000` in every language, so a separator before groups of three digits is taken to group them: 1.000 is a thousand.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from xllms.errors import InputError, one_line
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Table, Task
from xllms.evaluation.data import Files, Row, field, limited


class Words(NamedTuple):
    """A language of the benchmark: its code here, its words for question and answer, whether 1 000 is a number."""

    code: str
    question: str
    answer: str
    spaces_group: bool = False


# The missing space in Russian is the authors'.
LANGUAGES: Mapping[str, Words] = {
    "bn": Words("ben_Beng", "প্রশ্ন:", "ধাপে ধাপে উত্তর:"),
    "de": Words("deu_Latn", "Frage:", "Schritt-für-Schritt-Antwort:", True),
    "en": Words("eng_Latn", "Question:", "Step-by-Step Answer:"),
    "es": Words("spa_Latn", "Pregunta:", "Respuesta paso a paso:", True),
    "fr": Words("fra_Latn", "Question :", "Réponse étape par étape :", True),
    "ja": Words("jpn_Jpan", "問題：", "ステップごとの答え:"),
    "ru": Words("rus_Cyrl", "Задача:", "Пошаговоерешение:", True),
    "sw": Words("swh_Latn", "Swali:", "Jibu la Hatua kwa Hatua:"),
    "te": Words("tel_Telu", "ప్రశ్న:", "దశలవారీగా సమాధానం:"),
    "th": Words("tha_Thai", "โจทย์:", "คำตอบทีละขั้นตอน:"),
    "zh": Words("zho_Hans", "问题：", "逐步解答:"),
}
_COLUMNS = ("question", "answer")
_HARD_SPACES = "\u00a0\u2009\u202f"
_MARK = re.compile(r"(?<!#)####(?!#)(?P<line>[^\n]*)|\\boxed\{(?P<inside>(?:\{,\}|[^}])*)")
# A heading has words ("#### Step 2"), a step a mark behind it ("#### 2)"); 万 belongs to the number.
_HEADING = re.compile(r"[^\W\d_万萬千]|[):：][\s*_]*$")


def _pattern(spaces: str) -> re.Pattern[str]:
    return re.compile(
        rf"""
        (?P<sign>(?<![\d)A-Za-z])[-−])?[$€£¥]?  # 20-3 ends in 3
        (?:(?P<grouped>[1-9]\d{{0,2}}(?P<by>[,.٬'’{spaces}])\d{{3}}(?:(?P=by)\d{{3}}){{,6}}(?!\d|(?P=by)\d)
             |[1-9]\d?(?:,\d\d){{1,9}},\d{{3}}(?!\d))  # 1,00,000 as in India
          |(?P<plain>\d+))
        (?:[.,٫](?P<fraction>\d+))?
        (?P<ten_thousands>[万萬](?:(?P<thousands>\d)千)?(?P<rest>\d{{1,4}})?(?!\d))?
        """,
        re.VERBOSE,
    )


_NUMBER = {False: _pattern(_HARD_SPACES), True: _pattern(rf"{_HARD_SPACES}\ ")}


class Mgsm(Benchmark):
    """Accuracy of the last number of a written answer."""

    name = "mgsm"

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`mgsm`, written."""
        if "ranked" in asked.options.ways:
            raise InputError("evaluation.mgsm.ways: answers are numbers, which can be written only; leave it out")
        files = Files(asked, self.name)
        tasks = []
        for folder, words in LANGUAGES.items():
            names = [f"mgsm_{folder}.tsv"]
            rows = files.rows(names, folder, header=_COLUMNS) if asked.wants(words.code) else None
            if rows is None:
                continue
            solved = _solved(files, folder, asked)
            items = (_item(row, folder, place, solved) for place, row in enumerate(limited(rows, asked)))
            tasks.append(Task(words.code, words.code, tuple(items)))
        files.close()
        yield Table("mgsm", tasks, asked.options.max_new_tokens or 512, in_language=True)

    def parse(self, item: Item, output: str) -> str | None:
        """The number after the last `####` or `\\boxed{`, else the last number before a new question begins.

        What stands behind `####` must be one number and signs, such as `$` or `%`; with words, it is a heading.
        Digits of any script count, and 万 after a number; words for numbers do not.
        """
        words = LANGUAGES[item.id.split(":")[1]]
        again = rf"{re.escape(words.question.rstrip(' :：'))}\s?[:：]|### Instruction"
        text = re.split(again, output, maxsplit=1)[0]
        marked = [number for mark in _MARK.finditer(text) if (number := _marked(mark, words))]
        if marked:
            return marked[-1]
        found = read_numbers(text, spaces_group=words.spaces_group)
        return found[-1] if found else None


def _marked(mark: re.Match[str], words: Words) -> str | None:
    """The number that is marked as the answer, if one is."""
    if mark["line"] is None:
        return next(iter(read_numbers(mark["inside"], spaces_group=words.spaces_group)), None)
    boxed = _MARK.search(mark["line"])
    if boxed is not None:
        return _marked(boxed, words)
    found = read_numbers(mark["line"], spaces_group=words.spaces_group)
    return found[0] if len(found) == 1 and not _HEADING.search(mark["line"]) else None


def read_numbers(text: str, *, spaces_group: bool = False) -> list[str]:
    """The numbers in a text, in order, in plain notation: ৮.৫ is 8.5, 1,000.00 is 1000, 2万 is 20000.

    Args:
        text: in any script.
        spaces_group: whether a plain space may stand between groups of three digits; a hard space always may.
    """
    ascii_digits = "".join(map(_ascii_digit, text.replace("{,}", ",")))
    return [_plain(match) for match in _NUMBER[spaces_group].finditer(ascii_digits)]


def _ascii_digit(one: str) -> str:
    return str(unicodedata.decimal(one)) if not one.isascii() and one.isdecimal() else one


def _plain(match: re.Match[str]) -> str:
    # As text throughout: a model may write a number of more digits than Python converts.
    whole = match["plain"] or "".join(one for one in match["grouped"] if one.isdigit())
    fraction = match["fraction"] or ""
    if match["ten_thousands"]:
        low = int(match["thousands"] or 0) * 1000 + int(match["rest"] or 0)
        whole += f"{fraction[:4]:0<4}" if fraction else f"{low:04d}"
        fraction = fraction[4:]
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return f"-{value}" if match["sign"] and value != "0" else value


def _item(row: Row, folder: str, place: int, solved: str) -> Item:
    words = LANGUAGES[folder]
    return Item(
        id=f"mgsm:{folder}:{place}",
        prompt=f"{solved}{words.question} {field(row, 'question')}\n{words.answer}",
        reference=_gold(row),
    )


def _gold(row: Row) -> str:
    """The right answer: on the hub a number of its own, beside `answer` that is empty."""
    text = field(row, "answer_number" if row[1].get("answer_number") is not None else "answer").strip()
    found = read_numbers(text)
    if len(found) != 1 or not re.fullmatch(r"[\d.,]+", text):
        raise InputError(
            f"{row[0]}: the right answer is `{one_line(text[:40])}`, no number; MGSM's tables have a question and a "
            "number a line, and no line of names"
        )
    return found[0]


def _solved(files: Files, folder: str, asked: Asked) -> str:
    """Worked examples, the same before each problem."""
    if not asked.options.shots:
        return ""
    name = f"exemplars_{folder}.jsonl"
    rows = files.rows([name], folder, "train")
    if rows is None or len(rows) < asked.options.shots:
        raise InputError(
            f"{files.root / name}: has {len(rows or ())} worked examples for {asked.options.shots} shots, which MGSM's "
            "tables do not hold; put them there (fields question and answer, as in the train split of juletxara/mgsm), "
            "or set evaluation.mgsm.shots to 0"
        )
    return "".join(f"{field(row, 'question')}\n{field(row, 'answer')}\n\n" for row in rows[: asked.options.shots])


benchmark = Mgsm()
