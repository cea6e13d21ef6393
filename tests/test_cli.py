"""The command as a user meets it: help, typos, broken folders, Ctrl-C, a full disk. Never a traceback."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from xllms.cli.exits import guarded
from xllms.manifest import MANIFEST, read_manifest

STAGES = ("run", "instructions", "sft", "feedback", "dpo", "evaluate", "report")
TOOLS = ("generate", "merge", "export", "tokens", "compare", "show", "languages", "recipe")
CLUSTER = ("plan", "submit", "status", "logs", "cancel")
COMMANDS = (*STAGES, *TOOLS, *CLUSTER)
WITH_EXAMPLE = ("run", "evaluate", "generate", "merge", "export", "tokens", "compare", "show", "plan", "submit")
HELP_SECONDS = 0.5
RECIPE = """\
output: {output}
languages: [Swahili, German]
instructions:
  sources:
    - {{type: cldr, train: 6, validation: 1, feedback: 1, evaluation: 1}}
"""


@dataclass
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of a failure; progress lines may stand before it."""
        lines = [line for line in self.err.splitlines() if line.startswith("xllms: ")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0]
        return lines[0]


Xllms = Callable[..., Said]


@pytest.fixture
def xllms(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Xllms:
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XLLMS_DEBUG", raising=False)

    def call(*arguments: str | Path) -> Said:
        capsys.readouterr()
        code = guarded([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.format(output=tmp_path / "run"))
    return path


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ── help ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_of_every_command_and_a_typo_load_nothing_heavy(recipe: Path) -> None:
    recipe.write_text("sft:\n  epoch: 3\n")
    calls = [["--help"], *([command, "--help"] for command in COMMANDS), ["sft", str(recipe)], ["runn"]]
    shown = json.loads(
        in_a_process(
            "import contextlib, io, json, sys\n"
            "from xllms.cli.exits import guarded\n"
            "found = []\n"
            f"for call in {calls!r}:\n"
            "    out = io.StringIO()\n"
            "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):\n"
            "        code = guarded(call)\n"
            "    heavy = [m for m in ('torch', 'transformers', 'babel', 'peft') if m in sys.modules]\n"
            "    found.append([code, out.getvalue(), heavy])\n"
            "print(json.dumps(found))\n"
        )
    )
    assert [(code, heavy) for code, _, heavy in shown] == [(0, [])] * (len(COMMANDS) + 1) + [(2, []), (2, [])]
    assert all(command in shown[0][1] for command in COMMANDS)
    assert "xllms run recipes/quickstart.yaml" in shown[0][1]
    for command, (_, text, _) in zip(COMMANDS, shown[1:], strict=False):
        assert "Usage:" in text and "--help" in text
        assert ("Example: xllms" in text) == (command in WITH_EXAMPLE)
    assert "did you mean `epochs`?" in shown[-2][1]


def test_help_is_there_in_half_a_second() -> None:
    assert min(_processor_seconds("--help") for _ in range(3)) < HELP_SECONDS


def _processor_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "xllms", *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_without_arguments_the_help_is_shown(xllms: Xllms) -> None:
    said = xllms()
    assert said.code == 2
    assert said.err.startswith("Usage:")
    assert all(command in said.err for command in COMMANDS)


# ── typos ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("runn",), "Did you mean 'run'"),
        (("run",), "RECIPE"),
        (("run", "mine.yaml", "--overwrit"), "--overwrit"),
        (("run", "none.yaml"), "none.yaml: recipe cannot be read: No such file"),
        (("run", "mine.yaml", "--set", "sft.lora.rank=3"), "--set sft.lora.rank=3: unknown key `sft.lora.rank`"),
        (("run", "mine.yaml", "--data", "none"), "none"),
        (("evaluate", "mine.yaml", "--set", "evaluation.benchmarks=[xcopa]"), "evaluation.data"),
        (("generate", "hello"), "--model"),
        (("generate", "hello", "--model", ".", "--temperature", "-1"), "temperature"),
        (("languages", "Swahilli"), "Swahili"),
        (("recipe", "sfft"), "no key begins with `sfft`"),
    ],
)
def test_a_typo_is_one_line(xllms: Xllms, recipe: Path, arguments: tuple[str, ...], says: str) -> None:
    said = xllms(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert says in said.line
    assert not (recipe.parent / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        "languages=[Swahilli]",
        "feedback.languages=[thirty, Swahilli]",
        "evaluation.languages=[Swahilli]",
        "instructions.sources=[{type: alpaca, path: a.json, language: Swahilli}]",
        "instructions.sources=[{type: alpaca, path: a.json, instruction_language: Swahilli}]",
    ],
)
def test_an_unknown_language_is_found_before_anything_is_written(xllms: Xllms, recipe: Path, change: str) -> None:
    said = xllms("run", recipe, "--set", change)
    assert said.code == 2
    assert "'Swahilli'" in said.line
    assert "did you mean Swahili" in said.line
    assert not (recipe.parent / "run").exists()


def test_data_takes_any_folder_and_gives_the_recipe_its_xcopa(xllms: Xllms, recipe: Path) -> None:
    folder = recipe.parent / "2024: [mine] #1"
    folder.mkdir()
    recipe.write_text(recipe.read_text() + "evaluation:\n  benchmarks: [xcopa]\n")
    said = xllms("evaluate", recipe, "--data", folder)
    assert said.code == 2
    assert str(folder) in said.line
    assert "none of xcopa's files" in said.line


# ── what the user has ───────────────────────────────────────────────────────────────────────────────────────────────


def test_languages_prints_all_a_group_or_what_matches(xllms: Xllms) -> None:
    everything, hundred, swahili = xllms("languages"), xllms("languages", "hundred"), xllms("languages", "sw")
    assert [said.code for said in (everything, hundred, swahili)] == [0, 0, 0]
    assert len(everything.out.splitlines()) > 200
    assert len(hundred.out.splitlines()) == 1 + 101
    header, first, *_ = swahili.out.splitlines()
    assert header.split()[:3] == ["code", "name", "autonym"]
    assert first.split()[:3] == ["swh_Latn", "Swahili", "Kiswahili"]
    assert len(xllms("languages", "script:Arab").out.splitlines()) > 10


def test_recipe_prints_keys_with_their_meaning(xllms: Xllms) -> None:
    said = xllms("recipe")
    assert "sft.lora.r = 16" in said.out.splitlines()
    assert "output = runs/default   # the run's folder" in said.out.splitlines()
    few = xllms("recipe", "dpo").out.splitlines()
    assert few
    assert all(line.startswith("dpo.") for line in few)


def test_instructions_are_made_and_a_second_call_keeps_them(xllms: Xllms, recipe: Path) -> None:
    said = xllms("instructions", recipe)
    assert (said.code, said.out) == (0, f"{recipe.parent / 'run' / 'instructions'}\n")
    manifest = recipe.parent / "run" / "instructions" / MANIFEST
    made = manifest.read_bytes()
    assert read_manifest(manifest.parent)["counts"]["splits"]["train"] == 12
    assert xllms("instructions", recipe).code == 0
    assert manifest.read_bytes() == made


def test_changed_settings_are_refused_and_change_nothing_until_overwritten(xllms: Xllms, recipe: Path) -> None:
    xllms("instructions", recipe)
    run = recipe.parent / "run"
    kept = (run / "recipe.yaml").read_bytes()
    said = xllms("instructions", recipe, "--set", "instructions.sources.0.train=7")
    assert said.code == 2
    assert "sources.0.train: 6 then, 7 now" in said.line
    assert "--overwrite" in said.line
    assert (run / "recipe.yaml").read_bytes() == kept
    assert xllms("instructions", recipe, "--set", "instructions.sources.0.train=7", "--overwrite").code == 0
    assert read_manifest(run / "instructions")["counts"]["splits"]["train"] == 14
    assert (run / "recipe.yaml").read_bytes() != kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"instruction": "a", "output": "b"},\n {"instruction": "c", "outp', "mine.json:2: not JSON in record 1"),
        ('{"instruction": "a", "output": "b"}\n{"instruction": "c", "outp', "mine.json:2: not JSON"),
        ('{"instruction": "a"}\n', "mine.json:1: field `output` is missing"),
        ("", "mine.json: holds no records"),
    ],
)
def test_a_half_written_data_file_is_named_with_its_line(xllms: Xllms, recipe: Path, text: str, says: str) -> None:
    data = recipe.parent / "mine.json"
    data.write_text(text)
    said = xllms("instructions", recipe, "--set", f"instructions.sources=[{{type: alpaca, path: {data}}}]")
    assert said.code == 2
    assert says in said.line
    assert not (recipe.parent / "run" / "instructions").exists()


def test_a_byte_order_mark_is_no_mistake(xllms: Xllms, recipe: Path) -> None:
    rows = [json.dumps({"instruction": f"Say {n}", "output": str(n)}) for n in range(20)]
    data = recipe.parent / "mine.jsonl"
    data.write_text("\n".join(rows), encoding="utf-8-sig")
    assert xllms("instructions", recipe, "--set", f"instructions.sources=[{{type: alpaca, path: {data}}}]").code == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("sft", "stage 'instructions' is not finished; run `xllms instructions RECIPE` first"),
        ("feedback", "run `xllms instructions RECIPE` first"),
        ("dpo", "run `xllms sft RECIPE` first"),
        ("evaluate", "run `xllms instructions RECIPE` first"),
    ],
)
def test_a_stage_too_early_says_what_to_run_first(xllms: Xllms, recipe: Path, command: str, says: str) -> None:
    said = xllms(command, recipe)
    assert said.code == 2
    assert says in said.line


def test_generate_needs_a_run_and_a_finished_stage(xllms: Xllms, recipe: Path) -> None:
    nothing = xllms("generate", "hello", "--model", recipe.parent / "none")
    assert nothing.code == 2
    assert "not the folder of a run" in nothing.line
    assert str(recipe.parent / "none") in nothing.line
    assert xllms("generate", "hello", "--model", recipe.parent, "--language", "Swahilli").code == 2
    xllms("instructions", recipe)
    unfinished = xllms("generate", "hello", "--model", recipe.parent / "run", "--stage", "dpo")
    assert unfinished.code == 2
    assert "no finished `dpo` model; it has: base" in unfinished.line


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def model_folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "tiny-llama"))


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _cut_in_the_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x20\x00\x00")


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "lla')


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_without_weights, "no weights here"),
        (_without_config, "no config.json"),
        (_truncated, "cannot be loaded"),
        (_cut_in_the_header, "cannot be loaded"),
        (_broken_config, "cannot be loaded"),
        (_no_tokenizer, "cannot be loaded"),
    ],
)
def test_a_damaged_model_folder_is_named(
    xllms: Xllms, recipe: Path, model_folder: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(model_folder)
    assert xllms("instructions", recipe).code == 0
    said = xllms("sft", recipe, "--set", f"model.name={model_folder}", "--set", "model.device=cpu")
    assert said.code == 2
    assert str(model_folder) in said.line
    assert says in said.line


@pytest.mark.parametrize("name", ["/none/tiny", "./none", "~/none/tiny"])
def test_a_model_folder_that_is_not_there_is_named(xllms: Xllms, recipe: Path, name: str) -> None:
    assert xllms("instructions", recipe).code == 0
    said = xllms("sft", recipe, "--set", f"model.name={name}")
    assert said.code == 2
    assert said.line == f"xllms: model {name}: no such folder"


# ── interruptions ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_ctrl_c_is_one_line_and_keeps_what_was_finished(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"output: {tmp_path / 'run'}\nlanguages: [hundred]\n")
    units = tmp_path / "run" / "instructions" / "rejected"
    process = subprocess.Popen(
        [sys.executable, "-m", "xllms", "instructions", str(recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them inherit an ignored SIGINT; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    waiting_until = time.monotonic() + 60
    while not list(units.glob("[!.]*.jsonl")) and process.poll() is None and time.monotonic() < waiting_until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    said = Said(process.returncode, out, err)
    assert said.code == 130
    assert said.line == "xllms: stopped; what was finished is kept: run the same command again to go on"
    assert "Traceback" not in out + err
    assert list(units.glob("*.jsonl"))
    assert not (units.parent / MANIFEST).exists()


def test_a_full_disk_is_one_line_and_a_second_call_completes(
    xllms: Xllms, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, left = recipe.parent / "run" / "instructions", os.fsync, 8

    def full(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = xllms("instructions", recipe)
    assert said.code == 1
    assert "no space left on the disk" in said.line
    assert str(folder) in said.line
    finished = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    assert finished
    assert not list(folder.rglob(".part-*"))
    assert xllms("instructions", recipe).code == 0
    units = {path for path in finished if (folder / "rejected" / path.name).stat().st_mtime_ns in finished.values()}
    assert units
    assert all(path.stat().st_mtime_ns == finished[path] for path in units)
    assert read_manifest(folder)["counts"]["splits"]["train"] == 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 128 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_really_full_disk_is_one_line_and_free_space_lets_it_go_on(
    xllms: Xllms, recipe: Path, small_disk: Path
) -> None:
    (small_disk / "filling").write_bytes(b"\0" * 100_000)
    said = xllms("instructions", recipe, "--set", f"output={small_disk / 'run'}")
    assert said.code == 1
    assert "no space left on the disk" in said.line
    (small_disk / "filling").unlink()
    assert xllms("instructions", recipe, "--set", f"output={small_disk / 'run'}").code == 0
    assert read_manifest(small_disk / "run" / "instructions")["counts"]["splits"]["train"] == 12


def test_a_folder_that_cannot_be_made_is_one_line(xllms: Xllms, recipe: Path) -> None:
    (recipe.parent / "run").write_text("a file stands where the folder should be")
    said = xllms("instructions", recipe)
    assert said.code == 1
    assert str(recipe.parent / "run") in said.line


def test_nothing_in_a_message_acts_on_the_terminal(xllms: Xllms, recipe: Path) -> None:
    said = xllms("show", "\x1b[2J\x07\nrun")
    assert said.code == 2
    assert "⟦U+001B⟧[2J⟦U+0007⟧⟦U+000A⟧run: holds no scores" in said.line
    folder = recipe.parent / "sw"
    folder.mkdir()
    (folder / "test.sw.jsonl").write_text(
        '{"premise": "a", "choice1": "b", "choice2": "c", "question": "\\u001b[2J\\n", "label": 0, "idx": 0}'
    )
    recipe.write_text(recipe.read_text() + "evaluation:\n  benchmarks: [xcopa]\n")
    said = xllms("evaluate", recipe, "--data", recipe.parent)
    assert said.code == 2
    assert "\x1b" not in said.err
    assert "question is `⟦U+001B⟧[2J⟦U+000A⟧`, not cause or effect" in said.line


def test_what_nobody_foresaw_is_one_line_too(xllms: Xllms, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero\nsecond line")

    monkeypatch.setattr("xllms.pipeline.run", breaks)
    said = xllms("instructions", recipe)
    assert said.code == 1
    assert said.line == "xllms: ZeroDivisionError: by zero (a bug, please report it; XLLMS_DEBUG=1 shows where)"
