"""One prompt, id for id, from the data to the answer; on real tokenizers with different habits."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_tokenizers import BOS, CHAT, END, EOS, small_tokenizer
from xllms.errors import InputError
from xllms.models.shipped import cache_folder
from xllms.prompting import TEMPLATE_FILE, PromptTemplate

ROOT = Path(__file__).parents[1]
DATED = "{{ bos_token }}Today is {{ strftime_now('%H:%M:%S.%f') }}.\n" + CHAT.removeprefix("{{ bos_token }}")
NO_BOS_CHAT = CHAT.removeprefix("{{ bos_token }}")
SHIPPED = sorted(cache_folder().glob("gemma3-270m-*/tokenizer.json"))

TEMPLATES = {
    "alpaca": PromptTemplate(small_tokenizer(), "alpaca"),
    "alpaca with BOS": PromptTemplate(small_tokenizer(adds_bos=True), "alpaca"),
    "chat": PromptTemplate(small_tokenizer(chat_template=CHAT), "chat"),
    "chat with BOS from both": PromptTemplate(small_tokenizer(adds_bos=True, chat_template=CHAT), "chat"),
    "chat with BOS from the tokenizer": PromptTemplate(
        small_tokenizer(adds_bos=True, chat_template=NO_BOS_CHAT), "chat"
    ),
}
HAS_BOS = set(TEMPLATES) - {"alpaca"}
# The tokenizer's own control tokens are no text of a user's.
texts = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(params=TEMPLATES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(instruction=texts, given_=texts, output=texts)
def test_training_and_inference_see_the_same_ids(name: str, instruction: str, given_: str, output: str) -> None:
    template = TEMPLATES[name]
    prompt, sequence = template.prompt_ids(instruction, given_), template.sequence(instruction, given_, output)
    assert sequence.prompt == prompt
    whole = sequence.prompt + sequence.completion
    bos = template.tokenizer.bos_token_id
    assert whole.count(bos) == (name in HAS_BOS)
    assert (whole[0] == bos) == (name in HAS_BOS)
    assert template.end_id in template.stop_ids
    assert sequence.completion.count(template.end_id) == 1
    assert sequence.completion[-1] == template.end_id
    assert template.decode(sequence.completion) == output.strip()


def test_an_answer_ends_as_the_template_ends_it(name: str) -> None:
    template = TEMPLATES[name]
    assert template.tokenizer.convert_ids_to_tokens(template.end_id) == (EOS if name.startswith("alpaca") else END)
    assert template.stop_ids == {template.end_id, template.tokenizer.eos_token_id}


def test_chat_ids_are_those_of_the_whole_conversation() -> None:
    template = TEMPLATES["chat with BOS from both"]
    messages = [{"role": "user", "content": "Name a colour.\n\nin Greek"}, {"role": "model", "content": "Blue."}]
    whole = template.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    sequence = template.sequence("Name a colour.", "in Greek", "Blue.")
    assert tuple(whole[: len(sequence)]) == sequence.prompt + sequence.completion


def test_alpaca_text_with_and_without_input() -> None:
    template = TEMPLATES["alpaca"]
    plain, with_input = template.text("Translate."), template.text("Translate.", "Guten Tag")
    assert plain.startswith("Below is an instruction that describes a task. Write")
    assert plain.endswith("### Instruction:\nTranslate.\n\n### Response:\n")
    assert "### Input" not in plain
    assert with_input.startswith("Below is an instruction that describes a task, paired with an input")
    assert with_input.endswith("### Instruction:\nTranslate.\n\n### Input:\nGuten Tag\n\n### Response:\n")
    assert template.tokenizer.decode(template.prompt_ids("Translate.", "Guten Tag")) == with_input


@pytest.mark.parametrize("instruction", ["{input}", "{instruction}", "{", "{0} {} {a!r}", "Set {x | x > 1} %s"])
def test_braces_survive(name: str, instruction: str) -> None:
    text = TEMPLATES[name].text(instruction, "given {instruction} {input}")
    assert instruction in text
    assert text.count("given {instruction} {input}") == 1
    assert instruction in TEMPLATES[name].text(instruction)


def test_the_template_is_remembered_beside_an_adapter(name: str, tmp_path: Path) -> None:
    TEMPLATES[name].save(tmp_path)
    TEMPLATES[name].check(tmp_path)
    for other in TEMPLATES.keys() - {name}:
        if TEMPLATES[other].fingerprint == TEMPLATES[name].fingerprint:
            continue  # BOS from the chat template, or from the tokenizer: the same ids
        with pytest.raises(InputError, match="another prompt template"):
            TEMPLATES[other].check(tmp_path)
    assert len({template.fingerprint for template in TEMPLATES.values()}) == 3


def test_another_template_is_refused_with_the_way_out(tmp_path: Path) -> None:
    TEMPLATES["chat"].save(tmp_path)
    with pytest.raises(InputError) as caught:
        TEMPLATES["alpaca with BOS"].check(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: was trained with another prompt template; set `template: chat` in the recipe"
    )
    changed = PromptTemplate(small_tokenizer(chat_template=CHAT.replace("<turn>", "<turn> ")), "chat")
    with pytest.raises(InputError, match="its tokenizer or chat template has changed since"):
        changed.check(tmp_path)
    with pytest.raises(InputError, match=TEMPLATE_FILE):
        changed.check(tmp_path / "none")


def test_a_chat_template_that_shows_the_date_asks_the_same_tomorrow(tmp_path: Path) -> None:
    tokenizer = small_tokenizer(chat_template=DATED)
    first, later = PromptTemplate(tokenizer, "chat"), PromptTemplate(tokenizer, "chat")
    assert "Today is 26 Jul 2024." in first.text("Name a colour.")
    first.save(tmp_path)
    later.check(tmp_path)


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "from tests.small_tokenizers import CHAT, small_tokenizer\n"
        "from xllms.prompting import PromptTemplate\n"
        "print(PromptTemplate(small_tokenizer(chat_template=CHAT), 'chat').fingerprint)\n"
        "print(PromptTemplate(small_tokenizer(adds_bos=True), 'alpaca').fingerprint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [TEMPLATES["chat"].fingerprint, TEMPLATES["alpaca with BOS"].fingerprint]


def test_a_tokenizer_that_cannot_do_it_is_refused() -> None:
    with pytest.raises(InputError, match="no chat template; use `template: alpaca`"):
        PromptTemplate(small_tokenizer(), "chat")
    endless = small_tokenizer()
    endless.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        PromptTemplate(endless, "alpaca")


@pytest.mark.skipif(not SHIPPED, reason="Gemma-3-270M has not been converted into the cache (XLLMS_CACHE)")
def test_gemma_has_bos_once_and_its_end() -> None:
    from transformers import AutoTokenizer

    template = PromptTemplate(AutoTokenizer.from_pretrained(SHIPPED[0].parent), "alpaca")
    sequence = template.sequence("Name a colour.", "", "Bluu.")
    assert sequence.prompt[0] == template.tokenizer.bos_token_id
    assert sequence.prompt.count(template.tokenizer.bos_token_id) == 1
    assert sequence.completion[-1] == template.tokenizer.eos_token_id
    assert template.decode(sequence.completion) == "Bluu."
    assert BOS not in template.text("Name a colour.")
