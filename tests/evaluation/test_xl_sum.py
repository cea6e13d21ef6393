"""XL-Sum: the declaration's articles in its form, in scripts with and without spaces."""

import csv
import json
import lzma
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Table
from xllms.evaluation.benchmarks import xl_sum
from xllms.evaluation.judging import predictions, statistics_of
from xllms.evaluation.subjects import Output
from xllms.languages import get, resolve
from xllms.metrics.item_statistics import value
from xllms.recipe import EvaluationSettings
from xllms.recipe.evaluation import BenchmarkOptions, Protocol, XlSumOptions

SCRIPTS = {"thai": "tha", "amharic": "amh", "hindi": "hin", "arabic": "arb", "chinese_simplified": "cmn_hans"}


@pytest.fixture(scope="module")
def declaration() -> dict[str, list[str]]:
    """Articles 1 to 20 by the declaration's own code."""
    with lzma.open(shared_data("udhr", "udhr_articles.tsv.xz"), "rt", encoding="utf-8", newline="\n") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["code"] in {*SCRIPTS.values(), "uzn_cyrl", "uzn_latn", "hin"} and 1 <= int(row["article"]) <= 20:
            found.setdefault(row["code"], []).append(row["text"])
    assert {len(texts) for texts in found.values()} == {20}
    return found


def write(path: Path, articles: list[str]) -> None:
    """Each article and the next is a text; the first of the two its summary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"n-{n}", "url": f"https://example.org/{n}", "title": "", "summary": one, "text": f"{one}\n{other}"}
        for n, (one, other) in enumerate(pairwise(articles))
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def tables(data: Path, *languages: str, protocol: Protocol = "standard", limit: int | None = None) -> dict[str, Table]:
    asked = Asked(resolve(languages), protocol, BenchmarkOptions(), data, limit=limit)
    return {table.name: table for table in xl_sum.benchmark.tables(asked)}


def scores(table: Table, outputs: list[str], number: int = 0) -> dict[str, float]:
    task = table.tasks[number]
    answers = [Output(id=item.id, text=text) for item, text in zip(task.items, outputs, strict=True)]
    found = predictions(xl_sum.benchmark, table, task, "base", answers)
    return {name: value(stats) for name, stats in statistics_of(xl_sum.benchmark, found).items()}


def test_43_of_45_languages_are_in_the_registry() -> None:
    assert len(xl_sum.LANGUAGES) == len(set(xl_sum.LANGUAGES.values())) == 43
    for name, code in xl_sum.LANGUAGES.items():
        assert get(code).code == code
        if name != "serbian_cyrillic":
            assert get(name.replace("_", " ")).code == code, name


@pytest.mark.parametrize("language", SCRIPTS)
def test_an_identical_summary_scores_100_in_every_script(
    language: str, declaration: dict[str, list[str]], tmp_path: Path
) -> None:
    articles = declaration[SCRIPTS[language]]
    write(tmp_path / "xl_sum" / f"{language}_test.jsonl", articles)
    table = tables(tmp_path, xl_sum.LANGUAGES[language])["xl_sum"]
    items = table.tasks[0].items
    assert [item.reference for item in items] == [text.strip() for text in articles[:-1]]
    same = scores(table, [item.reference for item in items])
    assert [same[name] for name in ("rouge1", "rouge2", "rougeL")] == [pytest.approx(100)] * 3
    assert same["off_target"] == 0
    # The whole article holds its summary: some words in common, never 0 for want of spaces.
    whole = scores(table, [item.source for item in items])
    assert all(30 < whole[name] < 100 for name in ("rouge1", "rouge2", "rougeL"))
    english = scores(table, ["All human beings are born free and equal in dignity and rights."] * len(items))
    assert english["off_target"] == 1
    assert english["rouge2"] == 0


def test_both_protocols_and_both_layouts(declaration: dict[str, list[str]], tmp_path: Path) -> None:
    write(tmp_path / "hindi" / "test.jsonl", declaration["hin"])
    write(tmp_path / "arabic_test.jsonl", declaration["arb"])
    (paper,) = (table for table in tables(tmp_path, "Hindi", "Arabic", protocol="paper").values() if table.tasks)
    assert [task.key for task in paper.tasks] == ["arb_Arab", "hin_Deva"]
    assert (paper.max_new_tokens, paper.one_line) == (128, False)
    item = paper.tasks[1].items[3]
    assert item.prompt == (
        f"The followinng is an article.\nArticle: {item.source}\nPlease summarize the provided article."
    )
    standard = tables(tmp_path, "Hindi", "Arabic")["xl_sum"]
    assert standard.tasks[1].items[3].prompt.endswith("sentences, in Hindi.")
    assert standard.tasks[1].items[3].input == item.source
    assert [one.reference for one in standard.tasks[1].items] == [one.reference for one in paper.tasks[1].items]


def test_the_first_250_are_asked(declaration: dict[str, list[str]], tmp_path: Path) -> None:
    write(tmp_path / "thai_test.jsonl", declaration["tha"] * 20)
    for protocol in ("paper", "standard"):
        assert len(tables(tmp_path, "Thai", protocol=protocol)["xl_sum"].tasks[0].items) == 250
    assert len(tables(tmp_path, "Thai", limit=7)["xl_sum"].tasks[0].items) == 7


def test_a_long_article_is_cut_and_counted(
    declaration: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "thai_test.jsonl", ["ก" * 100, *declaration["tha"][:3], declaration["tha"][3] * 200])
    items = tables(tmp_path, "Thai")["xl_sum"].tasks[0].items
    assert [item.kind for item in items] == ["whole", "whole", "whole", "cut"]
    assert len(items[3].input) == 6000
    assert "xl_sum: 1 of 4 articles are cut at 6,000 characters" in capsys.readouterr().err


def test_how_much_of_an_article_is_shown_may_be_set(
    declaration: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "thai_test.jsonl", declaration["tha"][:5])
    given = EvaluationSettings.model_validate(
        {"benchmarks": ["xl_sum"], "data": tmp_path, "xl_sum": {"article_characters": 80, "limit": 3}}
    )
    options = given.options("xl_sum")
    assert isinstance(options, XlSumOptions)
    whole = tables(tmp_path, "Thai")["xl_sum"].tasks[0].items
    capsys.readouterr()
    for protocol in ("paper", "standard"):
        asked = Asked(resolve(["Thai"]), protocol, options, tmp_path)
        (table, _) = xl_sum.benchmark.tables(asked)
        assert [item.source for item in table.tasks[0].items] == [item.source[:80] for item in whole[:3]]
        assert all(item.source in item.prompt + item.input for item in table.tasks[0].items)
        assert not any(whole[n].source[:81] in item.prompt + item.input for n, item in enumerate(table.tasks[0].items))
    assert "xl_sum: 3 of 3 articles are cut at 80 characters" in capsys.readouterr().err


def test_another_script_than_the_registrys_is_not_called_off_target(
    declaration: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, where in (("uzn_latn", "xl_sum"), ("uzn_cyrl", "xl_sum.unchecked")):
        write(tmp_path / code / "uzbek_test.jsonl", declaration[code])
        found = {name: table for name, table in tables(tmp_path / code, "Uzbek").items() if table.tasks}
        assert list(found) == [where]
        measured = scores(found[where], [item.reference for item in found[where].tasks[0].items])
        assert measured["rougeL"] == pytest.approx(100)
        assert ("off_target" in measured) is (where == "xl_sum")
    assert "most references are not in Uzbek (uzn_Latn)" in capsys.readouterr().err


def test_an_empty_answer_scores_nothing_and_is_counted(declaration: dict[str, list[str]], tmp_path: Path) -> None:
    write(tmp_path / "amharic_test.jsonl", declaration["amh"][:3])
    table = tables(tmp_path, "Amharic")["xl_sum"]
    task = table.tasks[0]
    answers = [Output(id=task.items[0].id, text="  "), Output(id=task.items[1].id, text=task.items[1].reference)]
    found = predictions(xl_sum.benchmark, table, task, "base", answers)
    assert [one.verdict for one in found] == ["empty", "right"]
    assert [one.scores["rougeL"] for one in found] == [0, 100]
    assert found[0].parsed is None


def test_what_is_missing_or_wrong_is_named(
    declaration: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"none of xl_sum's files .*\(such as hindi_test.jsonl, thai_test.jsonl\)"):
        tables(tmp_path, "Thai", "Hindi")
    write(tmp_path / "thai_test.jsonl", declaration["tha"])
    assert [task.key for task in tables(tmp_path, "Thai", "Hindi")["xl_sum"].tasks] == ["tha_Thai"]
    assert "hindi_test.jsonl" in capsys.readouterr().err
    path = tmp_path / "hindi_test.jsonl"
    path.write_text('{"id": "1", "document": "a", "summary": "b"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"hindi_test.jsonl:1: no text in field `text` \(there is id, document, summ"):
        tables(tmp_path, "Hindi")
    path.write_text('{"id": "1", "text": "a", "summary": " "}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"hindi_test.jsonl:1: an empty text or summary"):
        tables(tmp_path, "Hindi")
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"hindi_test.jsonl: holds no items; was the download cut off"):
        tables(tmp_path, "Hindi")
