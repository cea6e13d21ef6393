"""MGSM: all 2,750 real problems, and numbers as models write them in eleven languages."""

from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from tests.evaluation.conftest import items, judged, tables, write_rows
from xllms.errors import InputError
from xllms.evaluation.benchmark import Item
from xllms.evaluation.benchmarks.mgsm import LANGUAGES, benchmark, read_numbers

CODES = [words.code for words in LANGUAGES.values()]
DIGITS = {"ascii": "0", "bengali": "০", "thai": "๐", "telugu": "౦", "arabic": "٠", "full width": "０"}


def parsed(language: str, answer: str) -> str | None:
    return benchmark.parse(Item(f"mgsm:{language}:0", "?", "0"), answer)


def test_every_problem_is_read_and_all_languages_have_the_same_answers() -> None:
    root = shared_data("mgsm")
    (table,) = tables(benchmark, root, *CODES)
    assert [(task.key, len(task.items)) for task in table.tasks] == [(code, 250) for code in CODES]
    answers = {task.key: [item.reference for item in task.items] for task in table.tasks}
    for folder, code in zip(LANGUAGES, CODES, strict=True):
        lines = (root / f"mgsm_{folder}.tsv").read_text(encoding="utf-8").split("\n")
        golds = [line.split("\t")[1].replace(",", "") for line in lines if line]
        assert all(gold.isdigit() for gold in golds)
        assert answers[code] == golds
    assert {"276000", "114200"} <= set(answers["eng_Latn"])
    assert (table.name, table.in_language) == ("mgsm", True)


def test_the_prompt_is_that_of_lm_evaluation_harness() -> None:
    root = shared_data("mgsm")
    first = items(benchmark, root, "German", limit=1)[0]
    question = (root / "mgsm_de.tsv").read_text(encoding="utf-8").split("\t")[0]
    assert first.prompt == f"Frage: {question}\nSchritt-für-Schritt-Antwort:"
    assert items(benchmark, root, "French", limit=1)[0].prompt.startswith("Question : Les canes de Janet")
    assert items(benchmark, root, "Russian", limit=1)[0].prompt.endswith("\nПошаговоерешение:")


@pytest.mark.parametrize(
    ("language", "answer", "number"),
    [
        ("en", "16 - 3 - 4 = 9. She makes 9 * $2 = $18.", "18"),
        ("en", "She earns $18.00 every day.", "18"),
        ("en", "That is 18.50 dollars", "18.5"),
        ("en", "The total is 276,000", "276000"),
        ("en", "9 * 2 = 18\n#### 18\nThat took 2 steps", "18"),
        ("en", "So \\boxed{1{,}400} of the 3", "1400"),
        ("en", "The answer is 18.\n\nQuestion: Tom has 5 apples.\nStep-by-Step Answer: 5", "18"),
        ("en", "18\n\n### Instruction:\nCount to 10", "18"),
        ("en", "#### Step 2: money\n9*2=18\nSo she makes $18.", "18"),
        ("en", "#### 1. Eggs\n16-3-4=9\n#### 2. Money\n9*2=18", "18"),
        ("en", "#### 2)\n9*2=18", "18"),
        ("en", "#### **$18.00**\nThat took 2 steps", "18"),
        ("en", "#### 18 %\nof 20", "18"),
        ("en", "#### $\\boxed{18}$\nThat took 2 steps", "18"),
        ("en", "#### 9 * 2\nmakes 18", "18"),
        ("en", "#### 18\nChecked twice, in 2 ways.\n#### Step 3", "18"),
        ("en", "20-3", "3"),
        ("en", "They lose money: -3", "-3"),
        ("en", "eighteen", None),
        ("en", "", None),
        ("de", "Sie verdient 114.200 Euro.", "114200"),
        ("de", "Das sind 2,5 Liter", "2.5"),
        ("de", "Das sind 1.234,50 €", "1234.5"),
        ("de", "Die Antwort lautet 18.\nFrage: 3?", "18"),
        ("fr", "Elle gagne 18 000 dollars", "18000"),
        ("fr", "Elle gagne 18\u202f000 $.", "18000"),
        ("fr", "La réponse est 18.\nQuestion : 3 ?", "18"),
        ("ru", "Ответ — 20 000.", "20000"),
        ("es", "La respuesta es 1.000.", "1000"),
        ("sw", "Jibu ni 2,125", "2125"),
        ("bn", "উত্তর হল ১৮।", "18"),
        ("bn", "#### ১৮\n২টি ধাপ", "18"),
        ("bn", "মোট ২,৭৬,০০০ টাকা", "276000"),
        ("te", "సమాధానం ౧౮.", "18"),
        ("th", "คำตอบคือ ๑๘", "18"),
        ("ja", "答えは18です。", "18"),
        ("ja", "27万6000ドルです", "276000"),
        ("ja", "11万4200円", "114200"),
        ("zh", "答案是 2.6万。", "26000"),
        ("zh", "#### 2.6万\n用了3步", "26000"),
        ("zh", "共５千克", "5"),
    ],
)
def test_numbers_as_models_write_them(language: str, answer: str, number: str | None) -> None:
    assert parsed(language, answer) == number


@given(
    st.integers(0, 10**12),
    st.sampled_from(sorted(DIGITS)),
    st.sampled_from(["", ",", ".", "'", "\u00a0", "\u202f", "٬"]),
)
def test_a_whole_number_is_read_in_any_digits_and_grouping(number: int, script: str, separator: str) -> None:
    zero = ord(DIGITS[script])
    written = "".join(chr(zero + int(one)) if one.isdigit() else separator for one in f"{number:,}")
    for sentence in ("{}", "7 + 1 = {}.", "= ${} ", "**{}**\n", "({})"):
        assert parsed("sw", sentence.format(written)) == str(number)


@given(st.decimals("0", "999999", places=2), st.sampled_from(["en", "de"]))
def test_a_price_is_no_whole_number(price: object, language: str) -> None:
    written = f"{price:,.2f}" if language == "en" else f"{price:,.2f}".translate(str.maketrans(",.", ".,"))
    assert parsed(language, f"= {written}") == f"{price:f}".rstrip("0").rstrip(".")


@given(st.text())
def test_any_text_gives_numbers_or_none(text: str) -> None:
    for number in read_numbers(text, spaces_group=True):
        assert float(number) >= 0 or number.startswith("-")


def test_an_answer_counts_and_its_language_is_looked_at() -> None:
    (table,) = tables(benchmark, shared_data("mgsm"), "German", limit=3)
    answers = [
        "Sie hat jeden Tag noch neun Eier übrig, die sie auf dem Markt verkauft. Das macht 18 Dollar.",
        "It takes half of two bolts of white fiber, which is one bolt, so that there are three: 3",
        "",
    ]
    found = judged(benchmark, table, answers)
    assert [(p.correct, p.parsed, p.verdict) for p in found] == [
        (True, "18", "right"),
        (True, "3", found[1].verdict),
        (False, None, "empty"),
    ]
    assert found[1].found_language == "eng_Latn"


def test_examples_come_from_a_file_that_is_asked_for_when_it_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mgsm_sw.tsv").write_text("Tano na sita?\t11\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"exemplars_sw\.jsonl: has 0 worked examples for 1 shots.*shots to 0"):
        items(benchmark, tmp_path, "Swahili", shots=1)
    example = {"question": "Swali: Mbili na tatu?", "answer": "Jibu la Hatua kwa Hatua: 2 + 3 = 5. Jibu ni 5."}
    write_rows(tmp_path / "exemplars_sw.jsonl", [example])
    assert items(benchmark, tmp_path, "Swahili", shots=1)[0].prompt == (
        f"{example['question']}\n{example['answer']}\n\nSwali: Tano na sita?\nJibu la Hatua kwa Hatua:"
    )


def test_the_hubs_fields_are_read_too(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="the hub is read with it")
    example = {"question": "Swali: 2 + 3?", "answer": "Jibu la Hatua kwa Hatua: Jibu ni 5.", "answer_number": 5}
    splits = {"train": example, "test": {"question": "5 + 6?", "answer": None, "answer_number": 11}}
    schema = arrow.schema([("question", "string"), ("answer", "string"), ("answer_number", "int32")])
    for split, row in splits.items():
        parquet.write_table(arrow.Table.from_pylist([row], schema=schema), tmp_path / f"{split}.parquet")
    files = "".join(f"\n      - {{split: {split}, path: {split}.parquet}}" for split in splits)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n  - config_name: sw\n    data_files:{files}\n---\n")
    (item,) = items(benchmark, None, "Swahili", hub=str(tmp_path), shots=1)
    assert (item.reference, item.prompt.startswith(f"{example['question']}\n{example['answer']}\n\n")) == ("11", True)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mgsm_sw.tsv"
    with pytest.raises(InputError, match=r"none of mgsm's files .* is here .such as mgsm_sw\.tsv."):
        tables(benchmark, tmp_path, "Swahili")
    path.write_text("")
    with pytest.raises(InputError, match=r"mgsm_sw\.tsv: holds no items"):
        tables(benchmark, tmp_path, "Swahili")
    path.write_text("question\tanswer\nTano?\t5\n")
    with pytest.raises(InputError, match=r"mgsm_sw\.tsv:1: the right answer is `answer`, no number"):
        tables(benchmark, tmp_path, "Swahili")
    path.write_text("Tano?\t5\nSita?\t5 au 6\n")
    with pytest.raises(InputError, match=r"mgsm_sw\.tsv:2: the right answer is `5 au 6`, no number"):
        tables(benchmark, tmp_path, "Swahili")
    path.write_text("Tano?\t5\textra\n")
    with pytest.raises(InputError, match=r"mgsm_sw\.tsv:1: 3 fields, but there are to be 2"):
        tables(benchmark, tmp_path, "Swahili")
    with pytest.raises(InputError, match=r"mgsm\.ways: answers are numbers"):
        tables(benchmark, tmp_path, "Swahili", ways=("ranked",))
