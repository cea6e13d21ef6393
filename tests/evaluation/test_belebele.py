"""Belebele: a small file in its format (the data are not at hand), lm-evaluation-harness's words, and letters."""

from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.conftest import items, judged, tables, write_rows
from xllms.errors import InputError
from xllms.evaluation.benchmarks.belebele import LANGUAGES, benchmark
from xllms.evaluation.letters import LETTERS, read_letter
from xllms.languages import group

CHOICES = ("Strong smells", "Failure to keep away", "Feeding the wildlife", "Vitamin C")


def row(number: int, gold: object = "2", **other: Any) -> dict[str, Any]:
    return {
        "link": "https://en.wikibooks.org/wiki/Parks",
        "question_number": 1 + number % 2,
        "flores_passage": f"Passage {number}. Keep away from bears.",
        "question": f"Question {number}? ",
        **{f"mc_answer{place}": f"{choice} {number}" for place, choice in enumerate(CHOICES, 1)},
        "correct_answer_num": gold,
        "dialect": "swh_Latn",
        "ds": "2023-05-03",
        **other,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_rows(tmp_path / "swh_Latn.jsonl", [row(0, "2"), row(1, "4"), row(2, "1"), row(3, 3)])
    return tmp_path


def test_its_languages_are_the_registrys() -> None:
    assert len(LANGUAGES) == 117
    assert {language.code for language in group("flores-200")} >= LANGUAGES


def test_the_context_is_that_of_lm_evaluation_harness(root: Path) -> None:
    (table,) = tables(benchmark, root, "Swahili")
    first = table.tasks[0].items[0]
    assert (table.name, table.tasks[0].key) == ("belebele.ranked", "swh_Latn")
    assert first.prompt == (
        "P: Passage 0. Keep away from bears.\nQ: Question 0?\nA: Strong smells 0\nB: Failure to keep away 0\n"
        "C: Feeding the wildlife 0\nD: Vitamin C 0\nAnswer:"
    )
    assert first.choices == (" A", " B", " C", " D")
    assert [item.gold for item in table.tasks[0].items] == [1, 3, 0, 2]
    assert [p.correct for p in judged(benchmark, table, [(0, 1, 0, 0)] * 4)] == [True, False, False, False]


def test_the_authors_instruction_asks_for_a_letter(root: Path) -> None:
    (table,) = tables(benchmark, root, "Swahili", ways=("written",), limit=2)
    prompt = table.tasks[0].items[0].prompt
    assert prompt.startswith("Given the following passage, query, and answer choices, output the letter")
    assert prompt.endswith(
        "###\nChoices:\n(A) Strong smells 0\n(B) Failure to keep away 0\n(C) Feeding the wildlife 0\n(D) Vitamin C 0\n"
        "###\nAnswer:\n"
    )
    found = judged(benchmark, table, ["(B)", "I would not know"])
    assert [(p.parsed, p.reference, p.correct) for p in found] == [("B", "B", True), (None, "D", False)]


def test_no_item_is_its_own_example(root: Path) -> None:
    alone = items(benchmark, root, "Swahili")
    solved = [f"{item.prompt} {item.reference}\n\n" for item in alone]
    found = items(benchmark, root, "Swahili", shots=2)
    ahead = [item.prompt.removesuffix(one.prompt) for item, one in zip(found, alone, strict=True)]
    assert ahead == [solved[1] + solved[2], solved[0] + solved[2], solved[0] + solved[1], solved[0] + solved[1]]


def test_what_is_wrong_with_a_file_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "swh_Latn.jsonl"
    tables(benchmark, root, "Swahili", "Hausa", "Bemba")
    assert "belebele: left out, as their files are not in" in (said := capsys.readouterr().err)
    assert "hau_Latn.jsonl" in said
    assert "bem_Latn" not in said, "Belebele has no Bemba"
    with pytest.raises(InputError, match=r"none of belebele's files .* is here .such as hau_Latn\.jsonl."):
        tables(benchmark, root, "Hausa")
    with pytest.raises(InputError, match=r"swh_Latn\.jsonl:1: 4 questions are too few for 4 shots"):
        tables(benchmark, root, "Swahili", shots=4)
    write_rows(path, [row(0), row(1, "5")])
    with pytest.raises(InputError, match=r"swh_Latn\.jsonl:2: the right answer is `5`, but must be 1 to 4"):
        tables(benchmark, root, "Swahili")
    write_rows(path, [row(0), row(1, "0")])
    with pytest.raises(InputError, match=r"the right answer is `0`, but must be 1 to 4"):
        tables(benchmark, root, "Swahili")
    for odd in ("²", "9" * 5000):
        write_rows(path, [row(0), row(1, odd)])
        with pytest.raises(InputError, match=rf"swh_Latn\.jsonl:2: the right answer is `{odd[:40]}`, but must be"):
            tables(benchmark, root, "Swahili")
    write_rows(path, [row(0, "\x1b[2J\x07\n")])
    with pytest.raises(InputError, match=r"the right answer is `⟦U\+001B⟧\[2J⟦U\+0007⟧⟦U\+000A⟧`, but"):
        tables(benchmark, root, "Swahili")
    write_rows(path, [{"\x1b[2J\n": 1}])
    with pytest.raises(InputError, match=r"there is ⟦U\+001B⟧\[2J⟦U\+000A⟧"):
        tables(benchmark, root, "Swahili")
    write_rows(path, [{"passage": "a", "question": "b", "answers": ["c"], "gold": 1}])
    with pytest.raises(InputError, match=r"no text in field `correct_answer_num` .*another version of the benchmark"):
        tables(benchmark, root, "Swahili")
    path.write_text("")
    with pytest.raises(InputError, match=r"swh_Latn\.jsonl: holds no items"):
        tables(benchmark, root, "Swahili")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        (" b) Failure", "B"),
        ("**B**: Failure to keep away", "B"),
        ("B. Failure to keep away. A and C are wrong.", "B"),
        ("B\n\nP: another passage\nAnswer: C", "B"),
        ("The correct answer is (C).", "C"),
        ("The answer is: B, not A", "B"),
        ("Die richtige Antwort ist B.", "B"),
        ("我选B。", "B"),
        ("答えはＢです", "B"),
        ("الإجابة الصحيحة هي B", "B"),
        ("Правильный ответ: D", "D"),
        ("A resposta é C", "C"),
        ("A is right", "A"),
        ("A: x\nB: y\nC: z\nD: w\nAnswer: C", "C"),
        ("strong smells.", "A"),
        ("Vitamin C", "D"),
        ("They were feeding the wildlife, I think", "C"),
        ("A dog would do that", None),
        ("A and B", None),
        ("A: x\nB: y\nC: z\nD: w", None),
        ("D'accord", None),
        ("Strong smells or feeding the wildlife", None),
        ("C, which is strong smells", None),
        ("E", None),
        ("", None),
        ("\n" * 10_000, None),
    ],
)
def test_letters_as_models_write_them(answer: str, found: str | None) -> None:
    assert read_letter(answer, CHOICES) == found


@given(
    st.sampled_from(LETTERS),
    st.sampled_from(["{}", "({})", "**{}**", "{}.", "{})", "Answer: {}", "Jibu ni {}.", "উত্তর: {}", "答案是{}。"]),
    st.sampled_from(["", "\n", " \n\n"]),
)
def test_a_letter_that_is_given_is_found(letter: str, wording: str, after: str) -> None:
    assert read_letter(wording.format(letter) + after, CHOICES) == letter


@given(st.text(st.characters(codec="utf-8").filter(lambda one: not set("ABCDabcd") & set(normalize("NFKC", one)))))
def test_without_letter_and_choice_there_is_no_answer(answer: str) -> None:
    assert read_letter(answer, ("abab", "baba", "cdcd", "dcdc")) is None
