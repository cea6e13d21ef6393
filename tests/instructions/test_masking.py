"""What must not be translated is taken out, survives a real translator, and comes back where it was."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.instructions.masking import (
    MARK,
    code_share,
    has_words,
    join_fields,
    mask,
    split_fields,
    translatable,
    unmask,
)
from xllms.records import Instruction

PIECES = st.sampled_from(
    [
        "QX0Z",
        "qx 1 z",
        "Q",
        "X",
        "Z",
        "1",
        "```",
        "`",
        "$",
        "\n",
        "    ",
        "x = 1",
        "{a}",
        "<b>",
        "25%",
        "a@b.org",
        "Hi ",
    ]
)
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=3)).map("".join)


def record(instruction: str, input: str = "", output: str = "Yes, it is.") -> Instruction:
    return Instruction(id="1", instruction=instruction, input=input, output=output, language="eng_Latn", source="t")


def seeds() -> list[Instruction]:
    path = shared_data("self_instruct", "seed_tasks.en.jsonl")
    tasks = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = [record(task["instruction"], **task["instances"][0]) for task in tasks]
    assert len(records) == 175
    return records


@given(TEXTS)
def test_a_text_that_was_not_touched_comes_back(text: str) -> None:
    masked = mask(text)
    assert unmask(masked.text, masked.parts) == (text, ())


@given(TEXTS, st.integers(min_value=0))
def test_a_mark_that_went_missing_or_came_twice_is_told(text: str, which: int) -> None:
    masked = mask(text + " see {name}")
    which %= len(masked.parts)
    for changed in ("", MARK.format(which) + " " + MARK.format(which)):
        _, lost = unmask(masked.text.replace(MARK.format(which), changed), masked.parts)
        assert lost == (masked.parts[which],)


@pytest.mark.parametrize("returned", ["QX0Z", "qx0z", "QX 0 Z", "Qx0 Z", "QX٠Z", "QX०Z"])
def test_marks_are_found_as_translators_spell_them(returned: str) -> None:
    assert unmask(f"Abre {returned}.", ["{file}"]) == ("Abre {file}.", ())


@pytest.mark.parametrize(
    "part",
    [
        "https://example.org/a?b=c", "me@example.org", "{name}", "{{x}}", "%s", "${VAR}", "<blank>", "[NAME]", "____",
        "`ls -l`", "12 km", "$3.50", "25%", "3:45 pm", "1,024", "36 km/hr", "68°F", "/usr/local/bin/x", "C:\\a\\b.txt",
        "notes.txt", "<a href=\"x\">", "&nbsp;", "$x_1^2$", "\\frac{1}{2}", "@someone", "2020-01-31",
    ],
)  # fmt: skip
def test_a_part_is_taken_out_whole(part: str) -> None:
    assert mask(f"Please take {part} to them.").parts == (part,)


@pytest.mark.parametrize("text", ["He has 5 balls and/or 12 bats, e.g. at 10 in the U.S.", "For example: import cars."])
def test_prose_stays(text: str) -> None:
    assert mask(text).parts == ()


def test_a_block_of_code_is_one_part() -> None:
    code = "import json\n\ndef read(path):\n    # open it\n    return json.load(open(path))"
    assert mask(f"Explain this:\n{code}\nThank you.").parts == (code,)
    assert mask("Run\n```sh\nmake all\n```\nnow").parts == ("```sh\nmake all\n```",)


@given(*[st.text(alphabet=st.characters(exclude_characters="=")).map(str.strip)] * 3)
def test_fields_are_joined_and_split(instruction: str, input: str, output: str) -> None:
    assert split_fields(join_fields(instruction, input, output)) == (instruction, input, output)


def test_a_field_with_the_separator_or_a_lost_one_is_not_split() -> None:
    assert split_fields(join_fields("a", "=====", "c")) is None
    assert split_fields("a\n=====\nb c") is None


@pytest.mark.skipif(shutil.which("apertium") is None, reason="needs apertium and apertium-eng-spa")
def test_marks_and_fields_survive_apertium() -> None:
    parts = raw_kept = 0
    for seed in seeds()[45:75]:
        text = join_fields(seed.instruction, seed.input, seed.output)
        masked = mask(text)
        fields, lost = unmask(apertium(masked.text), masked.parts)
        assert lost == ()
        assert split_fields(fields) is not None
        if masked.parts:
            parts += len(masked.parts)
            translated = apertium(text)
            raw_kept += sum(part in translated for part in masked.parts)
    assert parts > 30
    assert raw_kept < parts, "without marks some do not survive, or this module has no reason to be"


def apertium(text: str) -> str:
    command = ["apertium", "-u", "-f", "txt", "eng-spa"]
    return subprocess.run(command, input=text + "\n", capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("instruction", "action", "reason"),
    [
        ("Find a word that rhymes with cat.", "drop", "English form: rhymes"),
        ("Correct the grammar of the sentence.", "drop", "English form: grammar"),
        ("Translate the sentence into French.", "drop", "translation: Translate"),
        ("Say good morning in Japanese.", "drop", "translation: in Japanese"),
        ("Write a cover letter in Latin America.", "translate", ""),
        ("Tell me about the spells of wizards.", "translate", ""),
        ("```\n1 + 1\n```", "drop", "no words: the instruction is all markup, code or numbers"),
    ],
)
def test_what_english_form_decides(instruction: str, action: str, reason: str) -> None:
    decision = translatable(record(instruction))
    assert (decision.action, decision.reason) == (action, reason)


def test_code_and_numbers_stay_as_they_are() -> None:
    assert translatable(record("Sum a list.", output="def total(x):\n    return sum(x)")).reason == "code"
    assert translatable(record("Sort the list.", output="[-4, 2, 5]")).action == "keep_output"
    assert code_share("Use it like this:\n\nx = f(1)\n\nand you are done.") < 0.5
    assert not has_words("12 km, {name}")


def test_the_seed_tasks_are_decided_as_a_reader_would() -> None:
    actions = [translatable(seed).action for seed in seeds()]
    assert [actions.count(action) for action in ("translate", "keep_output", "drop")] == [138, 19, 18]
