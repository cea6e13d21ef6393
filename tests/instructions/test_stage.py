"""The instructions stage: whole, killed, resumed, refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from xllms.errors import InputError
from xllms.instructions import stage, unit
from xllms.languages import Language, get
from xllms.manifest import MANIFEST, ChangedSettings, read_manifest, whole_or_absent
from xllms.recipe import AlpacaSource, CldrSource, ContaminationSettings, FileSource, InstructionsSettings
from xllms.splits import SPLITS, read_split

LANGUAGES = [get(code) for code in ("swh_Latn", "deu_Latn", "arb_Arab", "umb_Latn", "eng_Latn")]
SETTINGS = InstructionsSettings(sources=(CldrSource(),))


def _files(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, which holds the seconds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "instructions"
    stage.run(SETTINGS, LANGUAGES, 3, folder)
    return folder


def test_manifest_counts_what_came_out_and_what_was_dropped(whole: Path) -> None:
    counts = read_manifest(whole)["counts"]
    assert counts["splits"] == {"train": 160, "validation": 16, "feedback": 32, "evaluation": 48}
    assert counts["without_records"] == ["umb_Latn"]
    assert counts["short"]["umb_Latn"]["train"] == [0, 40]
    assert counts["languages"]["swh_Latn"]["dropped"]["the locale has no own entry"] > 0
    assert sum(counts["kinds"].values()) == sum(counts["splits"].values())


def test_later_stages_read_what_was_written(whole: Path) -> None:
    for split in SPLITS:
        records = read_split(whole, split)
        assert sorted(records) == ["arb_Arab", "deu_Latn", "eng_Latn", "swh_Latn"]
        assert all(record.language == code for code, one in records.items() for record in one)


def test_readers_say_what_is_missing(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not finished"):
        read_split(tmp_path / "instructions", "train")
    with pytest.raises(InputError, match="unknown split"):
        read_split(whole, "test")
    settings = InstructionsSettings(sources=(CldrSource(train=2, feedback=0),))
    stage.run(settings, [get("swh_Latn")], 0, tmp_path / "instructions")
    with pytest.raises(InputError, match="raise `feedback`"):
        read_split(tmp_path / "instructions", "feedback")


@pytest.mark.parametrize("writes", [0, 1, 3, 7, 12, 20])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    folder, left = tmp_path / "instructions", writes

    @contextmanager
    def dies(path: Path) -> Iterator[IO[bytes]]:
        nonlocal left
        with whole_or_absent(path) as file:
            yield file
            if left == 0:
                (path.parent / f".part-1-{path.name}").write_text("half")
                raise KeyboardInterrupt
            left -= 1

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unit, "whole_or_absent", dies)
        stage.run(SETTINGS, LANGUAGES, 3, folder)
    assert not (folder / MANIFEST).exists()
    stage.run(SETTINGS, LANGUAGES, 3, folder)
    assert _files(folder) == _files(whole)
    before, after = read_manifest(whole), read_manifest(folder)
    assert (before["counts"], before["files"]) == (after["counts"], after["files"])


def test_finished_work_is_not_done_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(stage, "_draw", refuse)
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.json*")}
    stage.run(SETTINGS, LANGUAGES, 3, whole)
    assert before
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*.json*")} == before


def test_other_settings_are_refused(whole: Path) -> None:
    with pytest.raises(InputError, match="seed: 3 then, 4 now"):
        stage.run(SETTINGS, LANGUAGES, 4, whole)


def test_order_of_languages_does_not_matter(whole: Path, tmp_path: Path) -> None:
    stage.run(SETTINGS, LANGUAGES[::-1], 3, tmp_path / "instructions")
    assert _files(tmp_path / "instructions") == _files(whole)


def test_alpaca_beside_cldr(tmp_path: Path) -> None:
    data, folder = tmp_path / "mine.json", tmp_path / "instructions"
    data.write_text(json.dumps([{"instruction": f"Say {n}", "input": "", "output": f"{n}"} for n in range(90)]))
    settings = InstructionsSettings(sources=(CldrSource(train=10), AlpacaSource(path=data)))
    stage.run(settings, [get("swh_Latn")], 0, folder)
    train = read_split(folder, "train")
    assert {one.source for one in train["swh_Latn"]} == {"cldr"}
    assert {one.source for one in train["eng_Latn"]} == {"alpaca"}
    assert {one.source for one in read_split(folder, "evaluation")["eng_Latn"]} == {"alpaca"}
    data.write_text(json.dumps([{"instruction": "Say a", "input": "", "output": "a"}]))
    with pytest.raises(InputError, match="gave other data"):
        stage.run(settings, [get("swh_Latn")], 0, folder)


def test_a_bad_file_leaves_no_folder(tmp_path: Path) -> None:
    settings = InstructionsSettings(sources=(AlpacaSource(path=tmp_path / "none.json"),))
    with pytest.raises(InputError, match="cannot be read"):
        stage.run(settings, LANGUAGES, 0, tmp_path / "instructions")
    assert not (tmp_path / "instructions").exists()


def test_no_language_with_data_is_an_error(tmp_path: Path) -> None:
    languages: list[Language] = [get("umb_Latn")]
    with pytest.raises(InputError, match="CLDR has none of these languages"):
        stage.run(SETTINGS, languages, 0, tmp_path / "instructions")


def file_source(path: Path, rows: list[dict[str, Any]], **more: Any) -> FileSource:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileSource(path=path, language="English", **more)


def rows(count: int, word: str = "word", answers: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": i * answers + j, "instruction": f"Say {word} {i}, please.", "input": "", "output": f"{word} {i} {j}"}
        for i in range(count)
        for j in range(answers)
    ]


def test_two_sources_that_call_different_records_the_same_are_refused(tmp_path: Path) -> None:
    sources = (
        file_source(tmp_path / "a" / "train.jsonl", rows(3, "red")),
        file_source(tmp_path / "b" / "train.jsonl", rows(3, "blue")),
    )
    with pytest.raises(InputError, match="two sources have different records with the id train:0:eng_Latn"):
        stage.run(InstructionsSettings(sources=sources), [], 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_of_two_sources_stands_once_and_is_held_out_if_one_of_them_does_so(tmp_path: Path) -> None:
    every = {"validation_share": 0, "feedback_share": 0}
    sources = (
        file_source(tmp_path / "train.jsonl", rows(4), **every, evaluation_share=0),
        file_source(tmp_path / "train.jsonl", rows(4), **every, evaluation_share=0.999),
    )
    stage.run(InstructionsSettings(sources=sources, duplicates=None), [], 0, tmp_path / "out")
    counts = read_manifest(tmp_path / "out")["counts"]
    assert counts["splits"] == {"train": 0, "validation": 0, "feedback": 0, "evaluation": 4}
    assert counts["dropped"] == {"stands in an earlier source": 4}


def test_a_prompt_with_several_answers_is_in_one_split(tmp_path: Path) -> None:
    source = file_source(tmp_path / "a.jsonl", rows(10, answers=4), evaluation_share=0.4)
    stage.run(InstructionsSettings(sources=(source,), duplicates=None), [], 0, tmp_path / "out")
    prompts = {
        split: {
            record.instruction
            for records in read_split(tmp_path / "out", split, required=False).values()
            for record in records
        }
        for split in ("train", "evaluation")
    }
    assert prompts["train"] and prompts["evaluation"]
    assert not prompts["train"] & prompts["evaluation"]


def test_a_folder_without_benchmarks_is_no_decontamination(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source = file_source(tmp_path / "a.jsonl", rows(2))
    settings = InstructionsSettings(sources=(source,), contamination=ContaminationSettings(data=tmp_path / "data"))
    with pytest.raises(InputError, match="holds none of the benchmarks"):
        stage.run(settings, [], 0, tmp_path / "out")


def test_changed_benchmarks_are_other_inputs_and_nothing_left_is_said_with_the_reason(tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog near the old river bank again"
    row = {
        "premise": "Nothing of the kind ever happened here in these long years, so they say.",
        "choice1": "a",
        "choice2": "b",
    }
    bench = tmp_path / "data" / "xcopa" / "en" / "val.en.jsonl"
    bench.parent.mkdir(parents=True)
    bench.write_text(json.dumps({**row, "question": "cause", "label": 0, "idx": 0}) + "\n")
    source = file_source(
        tmp_path / "a.jsonl", [{"instruction": text, "input": "", "output": "Yes."}], evaluation_share=0
    )
    settings = InstructionsSettings(sources=(source,), contamination=ContaminationSettings(data=tmp_path / "data"))
    stage.run(settings, [], 0, tmp_path / "out")
    bench.write_text(json.dumps({**row, "premise": text, "question": "cause", "label": 0, "idx": 0}) + "\n")
    with pytest.raises(ChangedSettings, match="benchmarks gave other data"):
        stage.run(settings, [], 0, tmp_path / "out")
    with pytest.raises(InputError, match=r"no record is left \(contamination 1\)"):
        stage.run(settings, [], 0, tmp_path / "other")
