"""A benchmark in a file of one's own: whatever fails in it is one line with file and line, and never xllms' fault."""

import os
from pathlib import Path

import pytest

from tests.conftest import write_recipe
from tests.evaluation.test_stage import OWN, Adder, run
from xllms.cli.exits import guarded
from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Item
from xllms.evaluation.benchmarks import find
from xllms.languages import resolve

METHODS = """
    def {signature}:
        found = {{"a": 1}}
        return {body}


benchmark = Sums()
"""


def with_method(signature: str, body: str) -> str:
    return OWN.replace("\n\nbenchmark = Sums()\n", METHODS.format(signature=signature, body=body))


def line_of(text: str, part: str) -> int:
    (number,) = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return number


@pytest.mark.parametrize(
    ("text", "part", "message"),
    [
        (OWN.replace("str(2 * i)", "{}[i]"), "{}[i]", r"KeyError: 0 \(in tables\(\)\)"),
        (OWN.replace("asked.limit or 20", "0"), "yield Table", r"ValueError: task swh_Latn has no items \(in tables"),
        (OWN.replace("one.code, one.code", "one.code, one.iso"), "one.iso", r"AttributeError: .*iso.* \(in tables"),
        (with_method("parse(self, item, output)", "found['b']"), "found['b']", r"KeyError: 'b' \(in parse\(\)\)"),
        (with_method("correct(self, item, parsed)", "1 / 0"), "1 / 0", r"ZeroDivisionError: .* \(in correct\(\)\)"),
        (with_method("statistics(self, ps)", "ps[0].nothing"), "ps[0].nothing", r"AttributeError: .*in statistics"),
    ],
)
def test_what_fails_in_a_method_is_said_with_file_and_line(text: str, part: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"mine\.py:{line_of(text, part)}: {message}") as raised:
        run(path, Adder(), tmp_path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("yield Table(", "yield 'sums'\n        Table("), r"str among the tables; Table is expected"),
        (OWN.replace("yield Table(", "Table("), r"mine\.py: TypeError: 'NoneType' object is not iterable \(in tables"),
        (
            OWN.replace("[Task(", "(Task(").replace("asked.languages]", "asked.languages)"),
            r"tasks of `sums` are generator; a list",
        ),
        (OWN.replace("str(2 * i)", "2 * i"), r"swh_Latn:sums:0: `reference` is int; a text is expected"),
        (OWN.replace("(self, asked: Asked)", "(self)"), r"mine\.py: TypeError: .*tables\(\) takes 1 positional"),
        (with_method("parse(self, item, output)", "len(output)"), r"mine\.py: parse\(\) gave int; a text or None"),
        (with_method("correct(self, item, parsed)", "None"), r"mine\.py: correct\(\) gave None; True or False"),
        (with_method("statistics(self, ps)", '{"accuracy": 1.0}'), r"gave float; ItemStatistics for `accuracy`"),
        (
            OWN.replace('name = "sums"', 'name = "sums"\n    metrics = {"accuracy": 1}'),
            r"no mapping of names to Metric",
        ),
        (OWN.replace('name = "sums"', "name = 7"), r"its benchmark has no `name`"),
    ],
)
def test_what_no_prediction_could_hold_is_said_before_it_does_harm(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        run(path, Adder(), tmp_path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("x = 1\ny = (\n", 2, "SyntaxError"),
        (
            "x = 1\n\nimport no_such_package_at_all\n",
            3,
            "ModuleNotFoundError: No module named 'no_such_package_at_all'",
        ),
        ("def make():\n    return [][1]\n\n\nbenchmark = make()\n", 2, "IndexError"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_with_its_line(text: str, number: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"mine\.py:{number}: cannot be read as a benchmark: {message}"):
        find(str(path))


def test_an_error_that_says_itself_what_is_wrong_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    reading = "from xllms.evaluation.data import Files\n        Files(asked, 'sums')\n        items = ["
    path.write_text(OWN.replace("items = [", reading))
    with pytest.raises(InputError, match=r"^evaluation\.sums: .*no such folder$"):
        list(find(str(path)).tables(Asked(resolve(["Swahili"]), data=tmp_path / "nowhere")))


def test_a_benchmark_without_faults_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(with_method("parse(self, item, output)", "output.upper() if found else None"))
    benchmark = find(str(path))
    assert (benchmark.name, list(benchmark.metrics), benchmark.judged) == ("sums", ["accuracy"], False)
    assert len(benchmark.digest) == 64
    (table,) = benchmark.tables(Asked(resolve(["Swahili"]), limit=3))
    assert [item.reference for item in table.tasks[0].items] == ["0", "2", "4"]
    item = Item("1", "?", "AB")
    assert benchmark.parse(item, "ab") == "AB"
    assert benchmark.correct(item, "AB") is True
    path.write_text(path.read_text() + "\n# other rules\n")
    assert find(str(path)).digest != benchmark.digest


def test_on_the_command_line_it_is_one_line_and_no_bug_of_ours(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, tiny_model_folder)
    text = OWN.replace("str(2 * i)", "{}[i]")
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert not os.environ.get("XLLMS_DEBUG")
    assert guarded(["evaluate", str(recipe), "--set", "evaluation.benchmarks=[./mine.py]"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == f"xllms: ./mine.py:{line_of(text, '{}[i]')}: KeyError: 0 (in tables())"
