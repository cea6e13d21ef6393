"""Files are whole or absent; a stage is done when its manifest says so, and knows what it was made with."""

import errno
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.errors import InputError, XllmsError
from xllms.manifest import (
    MANIFEST,
    STARTED,
    ChangedSettings,
    FolderBusy,
    StageFolder,
    fingerprint,
    output_fingerprint,
    read_json,
    read_manifest,
    release,
    whole_or_absent,
    write_atomic,
)

SETTINGS: dict[str, Any] = {
    "sft": {"epochs": 1, "lora": {"r": 16}},
    "sources": [{"train": 40}, {"path": "a"}],
    "seed": 0,
}


def stage(folder: Path, settings: dict[str, Any] = SETTINGS, **inputs: str) -> StageFolder:
    return StageFolder(folder, "sft", settings, inputs)


def finished(folder: Path, data: dict[str, str], settings: dict[str, Any] = SETTINGS, **counts: int) -> str:
    one = stage(folder, settings)
    one.begin()
    for name, text in data.items():
        write_atomic(folder / name, text)
    one.finish(counts, [folder / name for name in data])
    return output_fingerprint(folder)


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_atomic(path, "Ġ\n")
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [other.name for other in path.parent.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_the_old_file_stays_when_writing_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def breaks(*_: object) -> None:
        raise failure

    path = tmp_path / "file.txt"
    write_atomic(path, "old")
    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", breaks)
        else:
            patch.setattr(Path, "replace", breaks)
        with pytest.raises((KeyboardInterrupt, XllmsError)) as caught:
            write_atomic(path, "new and longer")
    assert path.read_text() == "old"
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: cannot be written: Input/output error"
        assert [other.name for other in tmp_path.iterdir()] == ["file.txt"]


def test_begin_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    stage(folder).begin()
    (folder / "train").mkdir()
    (folder / "train" / ".part-1-swh_Latn.jsonl").write_text("half")
    (folder / "train" / "deu_Latn.jsonl").write_text("whole")
    (folder / ".part-adapter" / "deep").mkdir(parents=True)
    (folder / ".part-adapter" / "deep" / ".part-2-x").write_text("half")
    stage(folder).begin()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        STARTED,
        "train",
        "train/deu_Latn.jsonl",
    ]


def test_a_stage_is_done_when_its_manifest_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    assert not stage(folder).done
    stage(folder).begin()
    assert not stage(folder).done
    finished(folder, {"a.jsonl": "{}\n"}, records=1)
    assert stage(folder).done
    manifest = stage(folder).manifest()
    assert manifest["counts"] == {"records": 1}
    assert list(manifest["files"]) == ["a.jsonl"]
    assert manifest["settings"] == SETTINGS
    assert manifest["versions"]["xllms"]


def test_an_unfinished_stage_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `xllms sft RECIPE` first"):
        read_manifest(tmp_path / "sft")
    with pytest.raises(InputError, match="run `xllms evaluate RECIPE` first"):
        read_manifest(tmp_path / "evaluation")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({**SETTINGS, "seed": 3}, "(seed: 0 then, 3 now)"),
        ({**SETTINGS, "sft": {"epochs": 1, "lora": {"r": 8}}}, "(sft.lora.r: 16 then, 8 now)"),
        ({**SETTINGS, "sources": [{"train": 41}, {"path": "a"}]}, "(sources.0.train: 40 then, 41 now)"),
        ({**SETTINGS, "sources": [{"train": 40}]}, "sources: "),
        ({**SETTINGS, "new": "x"}, '(new: null then, "x" now)'),
        ({**SETTINGS, "seed": 1, "sft": {"epochs": 2, "lora": {"r": 16}}}, "seed: 0 then, 1 now; sft.epochs: 1 then"),
    ],
)
def test_changed_settings_are_refused_with_then_and_now(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    folder = tmp_path / "sft"
    finished(folder, {"a": "1"})
    for refused in (lambda: stage(folder, changed).done, stage(folder, changed).begin):
        with pytest.raises(ChangedSettings) as caught:
            refused()
        message = str(caught.value)
        assert message.startswith(f"{folder}: was made with other settings")
        assert says in message
        assert "--overwrite" in message and "\n" not in message


def test_changed_inputs_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    stage(folder, instructions="abc").begin()
    (folder / "unit.jsonl").write_text("{}\n")
    with pytest.raises(ChangedSettings, match="instructions gave other data"):
        stage(folder, instructions="abd").begin()
    stage(folder, instructions="abc").begin()


def test_a_folder_in_which_nothing_was_made_binds_nobody(tmp_path: Path) -> None:
    """A typo that a stage refused after it had begun must not ask for --overwrite when it is corrected."""
    folder = tmp_path / "sft"
    stage(folder, {"model": "typo"}).begin()
    (folder / ".part-1-unit.jsonl").write_text("{")
    corrected = stage(folder, {"model": "right"})
    assert not corrected.done
    corrected.begin()
    (folder / "unit.jsonl").write_text("{}\n")
    with pytest.raises(ChangedSettings):
        stage(folder, {"model": "typo"}).begin()


def test_settings_that_json_writes_alike_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    stage(folder, {"targets": ("a", "b"), "b": 1.0}).begin()
    assert not stage(folder, {"b": 1, "targets": ["a", "b"]}).done


def test_output_is_known_by_its_data_files_alone(tmp_path: Path) -> None:
    data = {"a.jsonl": "1\n", "b.jsonl": "2\n"}
    first = finished(tmp_path / "first", data, records=1)
    assert finished(tmp_path / "again", data, {"seed": 9}, records=2) == first
    assert finished(tmp_path / "order", dict(reversed(data.items()))) == first
    others = [
        finished(tmp_path / "content", {**data, "b.jsonl": "3\n"}),
        finished(tmp_path / "name", {"a.jsonl": "1\n", "c.jsonl": "2\n"}),
        finished(tmp_path / "fewer", {"a.jsonl": "1\n"}),
        finished(tmp_path / "swapped", {"a.jsonl": "2\n", "b.jsonl": "1\n"}),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe\x00", b"[1]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "sft"
    folder.mkdir()
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json.*remove"):
        read_manifest(folder)
    with pytest.raises(InputError, match="cannot be read"):
        read_json(folder / "none.json")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_a_fingerprint_is_blind_to_the_order_of_keys_only(value: dict[str, Any]) -> None:
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))
    assert fingerprint(value) != fingerprint({**value, "one more key than hypothesis makes": 1})


def test_two_processes_in_one_folder_the_second_refuses(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from xllms.manifest import StageFolder; "
        f"stage = StageFolder(Path({str(tmp_path)!r}) / 'sft', 'sft', {{}}, {{}}); "
        "stage.begin(); print('begun', flush=True); input()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None and first.stdout.readline() == "begun\n"
    stage = StageFolder(tmp_path / "sft", "sft", {}, {})
    with pytest.raises(InputError, match=rf"at work here \(number {first.pid} on {re.escape(platform.node())}\)"):
        stage.begin()
    first.kill()
    first.wait()
    stage.begin()  # the lock went with its process
    stage.finish({}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]


def test_names_of_files_under_way_differ_between_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines may have the same number for a process."""
    path, seen = tmp_path / "unit.jsonl", []
    for machine in ("one", "other"):
        monkeypatch.setattr(platform, "node", lambda machine=machine: machine)
        with whole_or_absent(path) as file:
            seen += [other.name for other in tmp_path.glob(".part-*")]
            file.write(machine.encode())
    assert len(set(seen)) == 2
    assert [other.name for other in tmp_path.iterdir()] == ["unit.jsonl"]


def test_of_several_that_write_a_file_the_first_may_win(tmp_path: Path) -> None:
    path = tmp_path / "started.json"
    with whole_or_absent(path, unless_there=True) as late:
        late.write(b"late")
        path.write_bytes(b"early")
    assert path.read_bytes() == b"early"
    assert [other.name for other in tmp_path.iterdir()] == ["started.json"]


def test_where_a_file_system_has_no_links_the_file_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    with whole_or_absent(tmp_path / "a", unless_there=True) as file:
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_a_part_mends_what_a_refused_attempt_left_and_holds_others_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    stage(folder, {"model": "typo"}).begin()
    release(folder)
    with stage(folder, {"model": "right"}).part("part-1-of-2"):
        assert read_json(folder / STARTED)["settings"] == {"model": "right"}
        (folder / ".part-elsewhere-1-unit.jsonl").write_text("half, and somebody is at it")
        (folder / "unit.jsonl").write_text("{}\n")
        with pytest.raises(ChangedSettings), stage(folder, {"model": "typo"}).part("part-2-of-2"):
            pass
    with stage(folder, {"model": "right"}).part("part-2-of-2"):
        assert (folder / ".part-elsewhere-1-unit.jsonl").exists()
    stage(folder, {"model": "right"}).begin()
    assert not (folder / ".part-elsewhere-1-unit.jsonl").exists()


def test_parts_are_done_together_and_the_whole_alone(tmp_path: Path) -> None:
    def held(call: str) -> "subprocess.Popen[str]":
        code = (
            "import contextlib; from pathlib import Path; from xllms.manifest import StageFolder\n"
            f"stage = StageFolder(Path({str(tmp_path)!r}) / 'sft', 'sft', {{}}, {{}})\n"
            f"with {call}:\n    print('begun', flush=True); input()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        return process

    one = StageFolder(tmp_path / "sft", "sft", {}, {})
    parts = [held(f"stage.part('part-{number}-of-3')") for number in (1, 2)]
    with pytest.raises(FolderBusy, match=rf"at work on part-2-of-3 \(number {parts[1].pid} "), one.part("part-2-of-3"):
        pass
    for process in parts:  # while either is there
        with pytest.raises(FolderBusy, match=r"at work here \(on parts of the work\)"):
            one.begin()
        with one.part("part-3-of-3"):
            pass
        process.kill()
        process.wait()
    whole = held("contextlib.nullcontext(stage.begin())")
    with pytest.raises(FolderBusy, match=rf"at work here \(number {whole.pid} "), one.part("part-3-of-3"):
        pass
    whole.kill()
    whole.wait()
    one.begin()
    one.finish({}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]
