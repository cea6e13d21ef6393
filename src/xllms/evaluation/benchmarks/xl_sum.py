"""Benchmark `xl_sum`: summaries of BBC news (Hasan et al. 2021) in 43 of its 45 languages, by ROUGE.

Nigerian Pidgin and Serbian in Latin letters are left out: the registry has neither. Both protocols ask the first 250
items of each language, the authors' number: `paper` with their prompt, typing mistake included, `standard` with one
that names the language to answer in. Articles are cut at 6,000 characters (`article_characters`), since an engine
refuses what does not fit its model (a long article is 20,000 characters, and a byte-level tokenizer takes three tokens
for one of Burmese); cut items have the kind `cut`, and their number is said.

The authors' Uzbek may be in Cyrillic letters: where most references of a language are not in it, its answers stand in
a table without an off-target rate.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import Files, Row, field, limited
from xllms.languages import get
from xllms.languages.identification import identify
from xllms.metrics.item_statistics import ItemStatistics
from xllms.metrics.rouge import rouge
from xllms.recipe.evaluation import XlSumOptions
from xllms.records import Prediction

LANGUAGES: Mapping[str, str] = {
    "amharic": "amh_Ethi",
    "arabic": "arb_Arab",
    "azerbaijani": "azj_Latn",
    "bengali": "ben_Beng",
    "burmese": "mya_Mymr",
    "chinese_simplified": "zho_Hans",
    "chinese_traditional": "zho_Hant",
    "english": "eng_Latn",
    "french": "fra_Latn",
    "gujarati": "guj_Gujr",
    "hausa": "hau_Latn",
    "hindi": "hin_Deva",
    "igbo": "ibo_Latn",
    "indonesian": "ind_Latn",
    "japanese": "jpn_Jpan",
    "kirundi": "run_Latn",
    "korean": "kor_Hang",
    "kyrgyz": "kir_Cyrl",
    "marathi": "mar_Deva",
    "nepali": "npi_Deva",
    "oromo": "gaz_Latn",
    "pashto": "pbt_Arab",
    "persian": "pes_Arab",
    "portuguese": "por_Latn",
    "punjabi": "pan_Guru",
    "russian": "rus_Cyrl",
    "scottish_gaelic": "gla_Latn",
    "serbian_cyrillic": "srp_Cyrl",
    "sinhala": "sin_Sinh",
    "somali": "som_Latn",
    "spanish": "spa_Latn",
    "swahili": "swh_Latn",
    "tamil": "tam_Taml",
    "telugu": "tel_Telu",
    "thai": "tha_Thai",
    "tigrinya": "tir_Ethi",
    "turkish": "tur_Latn",
    "ukrainian": "ukr_Cyrl",
    "urdu": "urd_Arab",
    "uzbek": "uzn_Latn",
    "vietnamese": "vie_Latn",
    "welsh": "cym_Latn",
    "yoruba": "yor_Latn",
}
ITEMS = 250
_PAPER = "The followinng is an article.\nArticle: {article}\nPlease summarize the provided article."
_STANDARD = "Summarize this article in one or two sentences, in {language}."
_TOLD = 20  # references that a language's writing is found by


class XlSum(Benchmark):
    """ROUGE-1, ROUGE-2 and ROUGE-L."""

    name = "xl_sum"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "rouge1": Metric("ROUGE-1"),
        "rouge2": Metric("ROUGE-2"),
        "rougeL": Metric("ROUGE-L"),
    }

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`xl_sum`; `xl_sum.unchecked` of languages whose references are not in what the registry takes them for."""
        files = Files(asked, self.name)
        checked: list[Task] = []
        unchecked: list[Task] = []
        for folder, code in LANGUAGES.items():
            names = [f"{folder}_test.jsonl", f"{folder}/test.jsonl"]
            rows = files.rows(names, folder) if asked.wants(code) else None
            if rows is not None:
                chosen = limited(rows, asked, ITEMS)
                task = Task(code, code, tuple(_item(row, folder, number, asked) for number, row in enumerate(chosen)))
                (checked if _in_language(task) else unchecked).append(task)
        files.close()
        _say(checked, unchecked, _longest(asked))
        limit = asked.options.max_new_tokens or 128
        one_line = asked.protocol == "standard"
        yield Table(self.name, checked, limit, one_line=one_line, in_language=True)
        yield Table(f"{self.name}.unchecked", unchecked, limit, one_line=one_line)

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Mean F1 of each ROUGE."""
        return rouge([p.output for p in predictions], [p.reference for p in predictions], get(predictions[0].language))


def _longest(asked: Asked) -> int:
    """Characters of an article that are shown at most."""
    options = asked.options
    return (options if isinstance(options, XlSumOptions) else XlSumOptions()).article_characters


def _item(row: Row, folder: str, number: int, asked: Asked) -> Item:
    article, summary = field(row, "text").strip(), field(row, "summary").strip()
    if not article or not summary:
        raise InputError(f"{row[0]}: an empty text or summary; is this file of another version?")
    shown = article[: _longest(asked)]
    paper = asked.protocol == "paper"
    return Item(
        id=f"xl_sum:{folder}:{number}",
        prompt=_PAPER.format(article=shown) if paper else _STANDARD.format(language=get(LANGUAGES[folder]).name),
        input="" if paper else shown,
        reference=summary,
        kind="cut" if len(shown) < len(article) else "whole",
        source=shown,
    )


def _in_language(task: Task) -> bool:
    """Whether the references are in the task's language, as far as can be told."""
    language = get(task.language)
    statuses = [identify(item.reference, language).status for item in task.items[:_TOLD]]
    return 2 * statuses.count("wrong") <= len(statuses)


def _say(checked: Sequence[Task], unchecked: Sequence[Task], longest: int) -> None:
    for task in unchecked:
        print(
            f"xl_sum: most references are not in {get(task.key).name} ({task.key}): no off-target rate of its answers",
            file=sys.stderr,
        )
    kinds = [item.kind for task in (*checked, *unchecked) for item in task.items]
    if cut := kinds.count("cut"):
        print(f"xl_sum: {cut} of {len(kinds)} articles are cut at {longest:,} characters", file=sys.stderr)


benchmark = XlSum()
