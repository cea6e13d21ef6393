"""FLORES: real sentences in a hundred languages, read in each form that they are passed around in, asked both ways."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation import parallel_text
from xllms.evaluation.benchmark import Asked, Table
from xllms.evaluation.benchmarks import flores
from xllms.evaluation.judging import predictions, statistics_of
from xllms.evaluation.subjects import Output
from xllms.languages import resolve
from xllms.metrics.item_statistics import value
from xllms.recipe.evaluation import FloresOptions, Protocol

FEW = ("swh_Latn", "tha_Thai", "zho_Hant", "zsm_Latn", "eng_Latn")


def tables(
    data: Path, *languages: str, protocol: Protocol = "standard", limit: int | None = None, **options: object
) -> dict[str, Table]:
    asked = Asked(resolve(languages), protocol, FloresOptions(**options), data, limit=limit)  # type: ignore[arg-type]
    return {table.name: table for table in flores.benchmark.tables(asked)}


def scores(table: Table, outputs: list[str]) -> dict[str, float]:
    task = table.tasks[0]
    answers = [Output(id=item.id, text=text) for item, text in zip(task.items, outputs, strict=True)]
    found = predictions(flores.benchmark, table, task, "base", answers)
    return {name: value(stats) for name, stats in statistics_of(flores.benchmark, found).items()}


@pytest.fixture(scope="module")
def real() -> Path:
    shared_data("flores200", "dev510.tsv.xz")
    return shared_data("flores200").parent


def sentences(real: Path, *codes: str) -> dict[str, list[str]]:
    asked = Asked(resolve(codes), data=real)
    return {code: list(lines) for code, lines in parallel_text.read(asked, "flores", codes).sentences.items()}


def publish(folder: Path, text: dict[str, list[str]], split: str) -> None:
    """The layout of the published archive."""
    (folder / split).mkdir(parents=True)
    for name, lines in text.items():
        (folder / split / f"{name}.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_sentence_in_a_hundred_languages_both_ways(real: Path) -> None:
    found = tables(real, "hundred")
    assert list(found) == ["flores.from_english", "flores.to_english"]
    for table in found.values():
        assert len(table.tasks) == 101
        assert {len(task.items) for task in table.tasks} == {510}
        assert table.in_language
        assert table.one_line
    assert {task.language for task in found["flores.to_english"].tasks} == {"eng_Latn"}
    there, back = (next(task for task in table.tasks if task.key == "swh_Latn") for table in found.values())
    assert [item.reference for item in there.items] == [item.source for item in back.items]
    assert there.items[0].prompt.endswith("U.S. cent each.\nSwahili:")
    # Quotes stand as they are: CSV rules would swallow rows.
    assert sum('"' in item.source for item in there.items) > 20


def test_the_papers_sentences_are_those_that_datasets_draws() -> None:
    datasets = pytest.importorskip("datasets")
    for count in (510, 997, 1012):
        drawn = datasets.Dataset.from_dict({"row": list(range(count))}).shuffle(seed=42)[:200]["row"]
        assert flores.sample(count) == drawn


def test_the_papers_protocol_asks_as_the_authors_did(real: Path) -> None:
    found = tables(real, "hundred", protocol="paper")
    assert list(found) == ["flores.from_english", "flores.to_english", "flores.pairs"]
    assert {len(task.items) for table in found.values() for task in table.tasks} == {200}
    assert {table.max_new_tokens for table in found.values()} == {512}
    task = next(task for task in found["flores.to_english"].tasks if task.key == "zho_Hans")
    item = task.items[7]
    assert item.id == f"flores:zho_Hans-eng_Latn:{flores.sample(510)[7]}"
    assert item.prompt == (
        "Translate the following Chinese (Simplified) sentence from Chinese (Simplified) to English.\n"
        f"Chinese (Simplified) Sentence: {item.source}\nPlease only return the translated English text."
    )
    pairs = [task.key.split("-") for task in found["flores.pairs"].tasks]
    assert len(pairs) == 60
    assert not any("eng_Latn" in pair for pair in pairs)
    assert len({source for source, _ in pairs}) == len({target for _, target in pairs}) == 60


def test_a_ring_asks_each_language_as_often_from_as_into() -> None:
    pairs = flores.ring(("a", "b", "c", "d", "e"), 10)
    assert len(set(pairs)) == 10
    assert set(Counter(source for source, _ in pairs).values()) == {2}
    assert set(Counter(target for _, target in pairs).values()) == {2}
    assert flores.ring(("e", "d", "c", "b", "a"), 10) == pairs
    assert len(flores.ring(("a", "b", "c"), 60)) == 6
    assert flores.ring(("a",), 60) == []


def test_pairs_that_are_named(real: Path) -> None:
    found = tables(real, "Swahili", limit=3, pairs=("swh_Latn-fra_Latn", "Thai-Swahili"))
    assert [task.key for task in found["flores.pairs"].tasks] == ["swh_Latn-fra_Latn", "tha_Thai-swh_Latn"]
    assert [task.language for task in found["flores.pairs"].tasks] == ["fra_Latn", "swh_Latn"]
    assert set(tables(real, "Swahili", "Thai", limit=1, directions=("pairs",))) == {"flores.pairs"}
    with pytest.raises(InputError, match=r"`swh_Latn` is no pair; write it as swh_Latn-fra_Latn"):
        tables(real, "Swahili", pairs=("swh_Latn",))
    with pytest.raises(InputError, match=r"`sw-swh_Latn` names one language twice"):
        tables(real, "Swahili", pairs=("sw-swh_Latn",))


def test_the_published_files_are_the_same_sentences(real: Path, tmp_path: Path) -> None:
    text = sentences(real, *FEW)
    publish(tmp_path / "flores200_dataset", {code: lines[:20] for code, lines in text.items()}, "devtest")
    publish(tmp_path / "flores200_dataset", {code: lines[20:] for code, lines in text.items()}, "dev")
    ours, theirs = (tables(folder, *FEW, limit=20) for folder in (tmp_path, real))
    assert [task.items for task in ours["flores.to_english"].tasks] == [
        task.items for task in theirs["flores.to_english"].tasks
    ]
    solved = tables(tmp_path, "Thai", shots=3)["flores.from_english"].tasks[0].items
    assert len(solved) == 20
    for item in solved:
        assert all(f"Thai: {line}\n" in item.prompt for line in text["tha_Thai"][20:23])
        assert item.reference not in item.prompt
    assert len(tables(tmp_path, "Thai", split="dev")["flores.from_english"].tasks[0].items) == 490


def test_flores_101_calls_languages_otherwise(tmp_path: Path) -> None:
    rows = list(csv.DictReader(shared_data("languages102.tsv").open(encoding="utf-8"), delimiter="\t"))
    assert len(rows) == 102
    publish(tmp_path, {row["flores101"]: [row["name"]] for row in rows}, "devtest")
    text = parallel_text.read(Asked(resolve(["hundred", "English"]), data=tmp_path), "flores", FEW)
    assert {code: lines[0] for code, lines in text.sentences.items()} == {
        row["flores200"]: row["name"] for row in rows if row["flores200"] in FEW
    }
    codes = [row["flores200"] for row in rows]
    everything = parallel_text.read(Asked(resolve(codes), data=tmp_path), "flores", codes)
    assert {code: lines[0] for code, lines in everything.sentences.items()} == {
        row["flores200"]: row["name"] for row in rows
    }


def test_shots_of_a_table_are_not_asked(real: Path) -> None:
    text = sentences(real, "swh_Latn")["swh_Latn"]
    items = tables(real, "Swahili", shots=5)["flores.from_english"].tasks[0].items
    assert [item.reference for item in items] == text[:-5]
    for item in items[:50]:
        assert all(line in item.prompt for line in text[-5:])
        assert item.reference not in item.prompt


def test_a_separator_inside_a_sentence_is_no_line(tmp_path: Path) -> None:
    publish(tmp_path, {"eng_Latn": ["one\u2028still one", "two"], "swh_Latn": ["moja", "mbili"]}, "devtest")
    items = tables(tmp_path, "Swahili")["flores.from_english"].tasks[0].items
    assert [(item.source, item.reference) for item in items] == [("one\u2028still one", "moja"), ("two", "mbili")]


def test_references_score_best_and_copies_are_off_target(real: Path) -> None:
    for language in ("Thai", "Amharic", "Japanese", "Chinese (Simplified)", "Swahili"):
        table = tables(real, language, limit=40)["flores.from_english"]
        right = scores(table, [item.reference for item in table.tasks[0].items])
        assert right["chrf"] == pytest.approx(100)
        assert right["bleu"] == pytest.approx(100)
        assert right["off_target"] == 0
        copied = scores(table, [item.source for item in table.tasks[0].items])
        assert copied["off_target"] > 0.9
        assert copied["chrf"] < 30


def test_an_empty_answer_scores_nothing_and_is_counted(real: Path) -> None:
    table = tables(real, "Hindi", limit=4)["flores.from_english"]
    task = table.tasks[0]
    texts = ["", " \n", task.items[2].reference, task.items[3].reference]
    answers = [Output(id=item.id, text=text) for item, text in zip(task.items, texts, strict=True)]
    found = predictions(flores.benchmark, table, task, "base", answers)
    assert [one.verdict for one in found] == ["empty", "empty", "right", "right"]
    assert [one.parsed is None for one in found] == [True, True, False, False]
    assert [one.scores["chrf"] for one in found] == [0, 0, 100, 100]
    assert [one.scores["bleu"] > 99 for one in found] == [False, False, True, True]


def test_without_the_model_of_spbleu_the_others_stand(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xllms.metrics.translation.spbleu_model", lambda: tmp_path / "absent.model")
    flores._has_spbleu.cache_clear()
    table = tables(real, "Hindi", limit=4)["flores.from_english"]
    found = scores(table, [item.reference for item in table.tasks[0].items])
    assert set(found) == {"chrf", "bleu", "off_target"}
    assert capsys.readouterr().err.count("flores: left out: spBLEU") == 1
    flores._has_spbleu.cache_clear()


def test_comet_is_the_mean_of_what_each_sentence_was_given(real: Path) -> None:
    table = tables(real, "Hindi", limit=4)["flores.from_english"]
    task = table.tasks[0]
    answers = [Output(id=item.id, text=item.reference) for item in task.items]
    found = predictions(flores.benchmark, table, task, "base", answers)
    given = [0.9, 0.5, 0.7, 0.7]
    scored = [p.model_copy(update={"scores": {**p.scores, "comet": c}}) for p, c in zip(found, given, strict=True)]
    assert value(statistics_of(flores.benchmark, scored)["comet"]) == pytest.approx(np.mean(given))
    assert "comet" not in statistics_of(flores.benchmark, [found[0], *scored[1:]])


@pytest.mark.parametrize(
    ("name", "field", "chinese"), [("flores", "sentence", "zho_Hant"), ("plus", "text", "cmn_Hant")]
)
def test_the_hubs_two_versions(real: Path, tmp_path: Path, name: str, field: str, chinese: str) -> None:
    pytest.importorskip("datasets")
    text = sentences(real, "eng_Latn", "zho_Hant")
    hub = tmp_path / name
    configs = {"eng_Latn": text["eng_Latn"][:5], chinese: text["zho_Hant"][:5]}
    hub.mkdir()
    lines = ["---", "configs:"]
    for config, some in configs.items():
        rows = "".join(json.dumps({"id": number, field: line}) + "\n" for number, line in enumerate(some))
        (hub / f"{config}.jsonl").write_text(rows, encoding="utf-8")
        lines += [f"- config_name: {config}", "  data_files:", "  - split: devtest", f"    path: {config}.jsonl"]
    (hub / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    found = tables(real, "Chinese (Traditional)", hub=str(hub))["flores.from_english"].tasks[0].items
    assert [(item.source, item.reference) for item in found] == list(
        zip(text["eng_Latn"][:5], text["zho_Hant"][:5], strict=True)
    )
    with pytest.raises(InputError, match=r"swh_Latn"):
        tables(real, "Swahili", hub=str(hub))


def test_what_is_missing_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, {"eng_Latn": ["one"], "swh_Latn": ["moja"]}, "devtest")
    found = tables(tmp_path, "Swahili", "Thai", "French")
    assert [task.key for task in found["flores.to_english"].tasks] == ["swh_Latn"]
    assert "left out, as" in (said := capsys.readouterr().err)
    assert "tha_Thai, fra_Latn" in said
    (tmp_path / "devtest" / "eng_Latn.devtest").unlink()
    with pytest.raises(InputError, match=r"devtest: no English \(eng_Latn\)"):
        tables(tmp_path, "Swahili")
    with pytest.raises(InputError, match=r"holds no sentences of flores: devtest/swh_Latn.devtest"):
        tables(tmp_path / "devtest", "Swahili")


@pytest.mark.parametrize(
    ("swahili", "message"),
    [
        (["moja"], r"eng_Latn\.devtest has 2 lines, .*swh_Latn\.devtest has 1: sentences would be paired wrongly"),
        (["moja", "mbili", "tatu"], r"eng_Latn\.devtest has 2 lines, .*swh_Latn\.devtest has 3"),
        (["", "moja"], r"swh_Latn\.devtest:1: a blank line, where a sentence should be"),
        (["moja", "\u3000"], r"swh_Latn\.devtest:2: a blank line"),
    ],
)
def test_lines_that_do_not_match_are_refused(tmp_path: Path, swahili: list[str], message: str) -> None:
    publish(tmp_path, {"eng_Latn": ["one", "two"], "swh_Latn": swahili}, "devtest")
    with pytest.raises(InputError, match=message):
        tables(tmp_path, "Swahili")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id\ten\tsw\n0\tone\tmoja\n", r"devtest\.tsv: its columns \(id, en, sw\) are not named by FLORES codes"),
        ("id\teng_Latn\tswh_Latn\n0\tone\n", r"devtest\.tsv:2: 2 fields, but the first line names 3"),
        ("id\teng_Latn\tswh_Latn\n0\tone\t \n", r"devtest\.tsv:2: no sentence in column `swh_Latn`"),
        ("id\teng_Latn\tswh_Latn\n", r"devtest\.tsv: holds no sentences; was the download cut off"),
        ("id\tfra_Latn\n0\tun\n", r"devtest\.tsv: has none of the evaluation's languages"),
    ],
)
def test_a_table_of_another_version_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "devtest.tsv").write_text(table, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        tables(tmp_path, "Swahili")


def test_a_table_of_any_name_is_known_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "topics.tsv").write_text("id\ttopic\n0\tsports\n", encoding="utf-8")
    head = "id\tsentence_eng_Latn\tsentence_swh_Latn"  # as the hub's table of all languages has it
    (tmp_path / "wide.tsv").write_text(f'{head}\n0\ta "quote\tmoja\n', encoding="utf-8")
    (item,) = tables(tmp_path, "Swahili")["flores.from_english"].tasks[0].items
    assert (item.source, item.reference) == ('a "quote', "moja")
