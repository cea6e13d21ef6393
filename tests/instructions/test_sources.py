"""The user's own sources at any size: laid down, taken up again after a kill, and never all in memory."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xllms.errors import InputError
from xllms.instructions import stage
from xllms.instructions.compact_map import CompactMap
from xllms.instructions.sources import spool_sources
from xllms.instructions.spool import finished_spool, remove_spool
from xllms.manifest import read_manifest
from xllms.recipe import FileSource, InstructionsSettings
from xllms.splits import SPLITS, read_split

CODES = ("eng_Latn", "swh_Latn", "deu_Latn")


def write_rows(path: Path, numbers: range, word: str = "word") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        {
            "instruction": f"Say {word} {number // 3}, please.",
            "input": "",
            "output": f"{word} {number} in {CODES[number % 3]}",
            "language": CODES[number % 3],
            "id": str(number),
            "parallel_id": f"set:{number // 3}",
        }
        for number in numbers
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def source(path: Path, **more: Any) -> FileSource:
    return FileSource(path=path, form="alpaca", **more)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))}


OVERLAPPING = {"validation_share": 0.2, "feedback_share": 0.2, "evaluation_share": 0.2}


def two_sources(folder: Path) -> InstructionsSettings:
    """Two files with one stem, so that their ids meet, and shares that disagree about half of what is in both."""
    first = source(write_rows(folder / "a" / "set.jsonl", range(120)), validation_share=0.5, evaluation_share=0)
    second = source(write_rows(folder / "b" / "set.jsonl", range(60, 180)), **OVERLAPPING)
    return InstructionsSettings(sources=(first, second), duplicates=None)


def test_what_a_later_source_holds_out_moves_to_its_place(tmp_path: Path) -> None:
    stage.run(two_sources(tmp_path), [], 0, tmp_path / "out")
    alone = {}
    for name in ("a", "b"):
        which = two_sources(tmp_path).sources[name == "b"]
        stage.run(InstructionsSettings(sources=(which,), duplicates=None), [], 0, tmp_path / name / "out")
        alone[name] = {
            one.id: split
            for split in SPLITS
            for records in read_split(tmp_path / name / "out", split, required=False).values()
            for one in records
        }
    expected: dict[str, list[tuple[int, int, int]]] = {}
    moved = 0
    for name in sorted({*alone["a"], *alone["b"]}):
        found = [alone[which].get(name) for which in ("a", "b")]
        split = max((one for one in found if one), key=SPLITS.index)
        moved += None not in found and split != found[0]
        number = int(name.split(":")[1])
        first = next(at for at, one in enumerate(found) if one)
        expected.setdefault(f"{split} {name.rpartition(':')[2]}", []).append(
            (first, SPLITS.index(found[first] or ""), number)
        )
    assert moved > 10
    for split in SPLITS:
        for code, records in read_split(tmp_path / "out", split, required=False).items():
            numbers = [int(one.id.split(":")[1]) for one in records]
            assert numbers == [number for *_, number in sorted(expected.pop(f"{split} {code}"))]
    assert not expected
    assert read_manifest(tmp_path / "out")["counts"]["dropped"] == {"stands in an earlier source": 60}


KILLED = """
import os, signal
from pathlib import Path
from xllms.instructions import spool, stage
from xllms.recipe import InstructionsSettings
kind, left, folder = {kind!r}, {left}, Path({folder!r})
spool._HELD = 500
def deadly(name):
    real = getattr(spool.SpoolWriter, name)
    def method(self, *given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *given)
    setattr(spool.SpoolWriter, name, method)
deadly(kind)
settings = InstructionsSettings.model_validate_json((folder / "settings.json").read_text())
stage.run(settings, [], 0, folder / "out")
"""


def kill(folder: Path, made: InstructionsSettings, kind: str, left: int) -> None:
    """Run the stage in a process that kills itself in the spool's method `kind`."""
    (folder / "settings.json").write_text(made.model_dump_json())
    code = KILLED.format(kind=kind, left=left, folder=str(folder))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (folder / ".out.sources").is_dir()


@pytest.mark.parametrize(("kind", "left"), [("_line", 70), ("_flush", 3), ("move", 1), ("finish", 0)])
def test_killed_while_sources_are_read_and_run_again_gives_the_same_bytes(tmp_path: Path, kind: str, left: int) -> None:
    (tmp_path / "whole").mkdir()
    stage.run(two_sources(tmp_path / "whole"), [], 0, tmp_path / "whole" / "out")
    made = two_sources(tmp_path)
    kill(tmp_path, made, kind, left)
    stage.run(made, [], 0, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "whole" / "out") != {}
    assert not (tmp_path / ".out.sources").exists()


def test_killed_while_sources_are_read_binds_nobody_to_its_settings(tmp_path: Path) -> None:
    made = two_sources(tmp_path)
    kill(tmp_path, made, "_line", 70)
    assert not (tmp_path / "out").exists()
    stage.run(made.model_copy(update={"sources": made.sources[:1]}), [], 0, tmp_path / "out")
    assert sum(read_manifest(tmp_path / "out")["counts"]["splits"].values()) == 120


def test_a_bad_line_far_down_leaves_nothing(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "set.jsonl", range(3000))
    with path.open("a") as file:
        file.write('{"instruction": "cut o')
    with pytest.raises(InputError, match="cut off"):
        stage.run(InstructionsSettings(sources=(source(path),)), [], 0, tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["set.jsonl"]


GROWTH = textwrap.dedent(
    """
    import json, resource, sys
    from pathlib import Path
    from xllms.instructions import stage
    from xllms.recipe import FileSource, InstructionsSettings
    folder = Path(sys.argv[1])
    peaks = []
    for count in (500, 12000):
        path = folder / f"{count}.jsonl"
        with path.open("w") as file:
            for number in range(count):
                row = {"instruction": f"Say {number}.", "output": f"{number} " + "words and words " * 250}
                file.write(json.dumps(row) + "\\\\n")
        settings = InstructionsSettings(sources=(FileSource(path=path, language="English"),), duplicates=None)
        stage.run(settings, [], 0, folder / str(count))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(peaks))
    """
).replace("\\\\", "\\")


def test_memory_does_not_grow_with_the_sources(tmp_path: Path) -> None:
    """46 MB more of records: all of them in memory would be that, and their text for the file as much again."""
    done = subprocess.run([sys.executable, "-c", GROWTH, str(tmp_path)], capture_output=True, text=True, check=True)
    small, large = json.loads(done.stdout)
    assert (tmp_path / "12000.jsonl").stat().st_size > 46e6
    assert large - small < 20


@settings(max_examples=100, deadline=None)
@given(
    entries=st.lists(
        st.tuples(
            st.one_of(st.text(max_size=3), st.tuples(st.text(max_size=2), st.text(max_size=2))), st.integers(0, 3)
        )
    )
)
def test_a_compact_map_is_a_dictionary(entries: list[tuple[str | tuple[str, str], int]]) -> None:
    expected: dict[str | tuple[str, str], int] = {}
    found = CompactMap(1)
    for key, number in entries:
        assert found.get(key) == expected.get(key)
        expected[key] = number
        found.set(key, number)
    assert {key: found.get(key) for key in expected} == expected
    assert len(found) == len(expected)


def test_a_compact_map_grows_and_stays_small() -> None:
    found = CompactMap(8)
    for number in range(50_000):
        found.set(f"name:{number}", number << 20)
    assert all(found.get(f"name:{number}") == number << 20 for number in range(50_000))
    assert found.get("name:50000") is None
    assert len(found) == 50_000
    assert found.nbytes <= 43 * 50_000


def test_a_spool_that_lost_a_file_is_read_anew(tmp_path: Path) -> None:
    """As when a kill came while it was removed, or a scratch disk was purged."""
    data = tmp_path / "mine.jsonl"
    rows = [{"instruction": f"Ask {number}", "output": f"Answer {number}"} for number in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"type": "alpaca", "path": str(data), "language": "Swahili", "instruction_language": "Swahili"}
    settings = InstructionsSettings.model_validate({"sources": [source]})
    folder = tmp_path / "spool"
    spool = spool_sources(settings, 0, folder, "mine")
    assert finished_spool(folder, "mine") == spool
    assert finished_spool(folder, "another") is None
    (folder / "swh_Latn" / "train.jsonl").unlink()
    assert finished_spool(folder, "mine") is None
    assert spool_sources(settings, 0, folder, "mine") == spool == finished_spool(folder, "mine")
    remove_spool(folder)
    assert not folder.exists()
