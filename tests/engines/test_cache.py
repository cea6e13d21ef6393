"""What was answered stays answered: across threads, processes, kills and full disks."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.engines.cache import Answer, AnswerCache, request_key
from xllms.engines.protocol import Written
from xllms.errors import InputError, XllmsError
from xllms.records import read_json_lines

# Real text in several scripts, and whatever else a server may send; a lone surrogate is none.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
answers = st.builds(
    Answer, st.builds(Written, texts, st.booleans(), texts), st.integers(0, 10**9), st.integers(0, 10**9)
)


def answer(text: str) -> Answer:
    return Answer(Written(text, True), 3, 5)


@settings(max_examples=30, deadline=None)
@given(kept=st.dictionaries(texts, answers, max_size=8))
def test_what_was_kept_comes_back_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, Answer]
) -> None:
    path = tmp_path_factory.mktemp("cache") / "answers.sqlite"
    cache = AnswerCache(path)
    for prompt, value in kept.items():
        cache.keep(request_key({"prompt": prompt}), value)
    cache.close()
    again = AnswerCache(path)
    assert {prompt: again.get(request_key({"prompt": prompt})) for prompt in kept} == kept
    assert len(again) == len(kept)


def test_real_answers_in_many_scripts_come_back(tmp_path: Path) -> None:
    rows = [
        row
        for code in ("en", "fr", "ru", "zh")
        for _, row in read_json_lines(shared_data("seed_tasks", f"{code}.jsonl"))
    ]
    assert len(rows) > 100
    cache = AnswerCache(tmp_path / "deep" / "answers.sqlite")
    for row in rows:
        cache.keep(request_key(row), answer(row["output"]))
    found = [cache.get(request_key(row)) for row in rows]
    assert [value.written.text for value in found if value] == [row["output"] for row in rows]


def test_the_key_is_the_content_not_the_order_of_its_parts() -> None:
    assert request_key({"a": 1, "b": {"c": 2, "d": 3}}) == request_key({"b": {"d": 3, "c": 2}, "a": 1})
    assert request_key({"prompt": "a", "occurrence": 0}) != request_key({"prompt": "a", "occurrence": 1})
    assert len(request_key({"prompt": "half a pair: \ud83d"})) == 64


def test_the_first_answer_stays(tmp_path: Path) -> None:
    """Two processes that asked for the same at once both go on with one of the two answers."""
    one, other = AnswerCache(tmp_path / "a.sqlite"), AnswerCache(tmp_path / "a.sqlite")
    assert one.keep("k", answer("first")).written.text == "first"
    assert other.keep("k", answer("second")).written.text == "first"
    assert other.get("k") == one.get("k") == answer("first")


def test_threads_share_it(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "a.sqlite")
    errors: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for i in range(100):
                cache.keep(f"{thread}-{i}", answer(str(i)))
                assert cache.get(f"{thread}-{i}") == answer(str(i))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(cache) == 800


WRITER = """
import sys
from pathlib import Path
from xllms.engines.cache import Answer, AnswerCache
from xllms.engines.protocol import Written
cache = AnswerCache(Path(sys.argv[1]))
for i in range(int(sys.argv[3])):
    cache.keep(f"{sys.argv[2]}-{i}", Answer(Written("x" * 500, True)))
    print(i, flush=True)
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    writers = [writer(path, name, 200) for name in "abcd"]
    ends = [process.communicate(timeout=60) for process in writers]
    assert [error for _, error in ends] == [""] * 4
    assert len(AnswerCache(path)) == 800


def test_a_killed_process_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    process = writer(path, "k", 10**6)
    assert process.stdout is not None
    for _ in range(50):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = AnswerCache(path)
    assert len(cache) >= last + 1 >= 50
    assert all(cache.get(f"k-{i}") == Answer(Written("x" * 500, True)) for i in range(last + 1))


@pytest.mark.parametrize(
    "content", [b"not a database, whatever its name says" * 200, b"SQLite format 3\x00" + b"\x07" * 9000]
)
def test_a_file_that_is_no_cache_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"answers\.sqlite: no cache of answers.*remove it.*asked for again") as caught:
        AnswerCache(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content, "it may be something of the user's"


def test_a_damaged_page_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    for i in range(200):
        cache.keep(str(i), answer("x" * 300))
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="remove it"):
        AnswerCache(path).get("7")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE answers (question TEXT)")
    database.close()
    with pytest.raises(InputError, match="no cache of answers"):
        AnswerCache(path).get("k")


def test_an_answer_that_cannot_be_read_is_no_traceback(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "answers.sqlite"
    AnswerCache(path).close()
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO answers VALUES ('k', '{\"written\": {}')")
    database.close()
    with pytest.raises(InputError, match="cannot be read"):
        AnswerCache(path).get("k")


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    cache._database.execute("PRAGMA max_page_count = 8")  # SQLite's own SQLITE_FULL, as from a disk without room
    with pytest.raises(XllmsError, match="no space left on the disk; free some") as caught:
        for i in range(100):
            cache.keep(str(i), answer("x" * 1000))
    assert "\n" not in str(caught.value)
    cache.close()
    assert 1 <= len(AnswerCache(path)) < 100


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(XllmsError, match="cannot be written"):
        AnswerCache(tmp_path / "file" / "answers.sqlite")
