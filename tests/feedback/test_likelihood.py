"""Rankers by likelihood, on a real small model: the numbers are its own logits', and training shows in the ranking."""

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.feedback.test_ranking import record
from xllms.engines.protocol import Usage
from xllms.feedback.likelihood import ImplicitRanker, TranslationRanker, answer_logprobs
from xllms.languages import Language, get
from xllms.models import Loaded, load
from xllms.packing.logprobs import token_logprobs
from xllms.packing.trie import Trie
from xllms.recipe import ModelSettings
from xllms.records import Instruction

ANSWERS = ["Norwegen", "Schweden und Norwegen", "?"]


@pytest.fixture
def loaded(tiny_model_folder: Path) -> Loaded:
    return load(ModelSettings(name=str(tiny_model_folder), dtype="float32"), "alpaca")


def trained_to_prefer(loaded: Loaded, asked: Instruction, chosen: str, rejected: str) -> Loaded:
    """A copy after a few steps of DPO's loss on one pair."""
    model = copy.deepcopy(loaded.model).requires_grad_(True)
    trie = Trie.build([loaded.template.sequence(asked.instruction, asked.input, text) for text in (chosen, rejected)])
    before = trie.sum_by_sequence(token_logprobs(loaded.model, trie, batching=loaded.batching)).detach()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(6):
        ratio = trie.sum_by_sequence(token_logprobs(model, trie, batching=loaded.batching)) - before
        loss = -torch.nn.functional.logsigmoid(0.1 * (ratio[0] - ratio[1]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return replace(loaded, model=model.eval())


def alone(loaded: Loaded, asked: Instruction, answer: str) -> torch.Tensor:
    """Log-probabilities of the answer's tokens from the model's own logits."""
    sequence = loaded.template.sequence(asked.instruction, asked.input, answer)
    ids = torch.tensor([sequence.prompt + sequence.completion])
    with torch.no_grad():
        scores = loaded.model(input_ids=ids).logits[0].float().log_softmax(-1)
    at = torch.arange(len(sequence.prompt) - 1, len(sequence) - 1)
    return scores[at, ids[0, at + 1]]


def test_the_log_probabilities_are_the_models_own(loaded: Loaded) -> None:
    want = [alone(loaded, record(), answer) for answer in ANSWERS]
    assert answer_logprobs(loaded, record(), ANSWERS) == pytest.approx([float(one.sum()) for one in want], abs=1e-3)
    means = answer_logprobs(loaded, record(), ANSWERS, per_token=True)
    assert means == pytest.approx([float(one.mean()) for one in want], abs=1e-4)


@pytest.mark.parametrize("per_token", [False, True])
def test_the_implicit_reward_ranks_what_training_preferred_first(loaded: Loaded, per_token: bool) -> None:
    tuned = trained_to_prefer(loaded, record(), ANSWERS[0], ANSWERS[1])
    scores = ImplicitRanker(tuned, loaded, {}, 1.0, per_token).score(record(), ANSWERS[:2])
    first, second = (score.value for score in scores)
    assert first is not None and second is not None
    assert first > 60 > 40 > second
    assert first + second == pytest.approx(100)
    same = ImplicitRanker(loaded, loaded, {}, 1.0, per_token).score(record(), ANSWERS)
    assert [score.value for score in same] == pytest.approx([50.0] * 3)


def test_the_implicit_reward_asks_in_english(loaded: Loaded) -> None:
    english = record()
    german = english.model_copy(update={"instruction": "Welche Länder?", "instruction_language": "deu_Latn"})
    tuned = trained_to_prefer(loaded, english, ANSWERS[0], ANSWERS[1])
    ranker = ImplicitRanker(tuned, loaded, {english.parallel_id: english}, 0.1)
    assert ranker.score(german, ANSWERS) == ranker.score(english, ANSWERS)
    without = ImplicitRanker(tuned, loaded, {}, 0.1)
    assert [score.value for score in without.score(german, ANSWERS)] == [None] * 3
    assert without.counts == {"no English instruction": 1}


def spanish(text: str) -> Instruction:
    return record(text, "spa_Latn")


class Nobody:
    """A translator without any pair."""

    name = "nobody"

    def __init__(self) -> None:
        self.usage = Usage()

    def supports(self, source: Language, target: Language) -> bool:
        return False

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        raise AssertionError("asked for a pair that it does not have")


def test_an_answer_is_ranked_by_its_real_translation(loaded: Loaded) -> None:
    if shutil.which("apertium") is None:
        pytest.skip("apertium is not installed (apt-get install apertium apertium-eng-spa)")
    apertium = pytest.importorskip("xllms.engines.apertium")
    from xllms.recipe import ApertiumSettings

    translator = apertium.ApertiumTranslator(ApertiumSettings())
    if not translator.supports(get("es"), get("en")):
        pytest.skip("apertium-eng-spa is not installed")
    answers = ["la casa roja", "el perro", ""]
    ranker = TranslationRanker(translator, loaded, {})
    scores = ranker.score(spanish("la casa roja"), answers)
    said = translator.translate(answers[:2], get("es"), get("en"))
    assert said[0].lower().endswith("red house")
    means = [float(alone(loaded, spanish("x"), text).mean()) for text in said]
    assert (means[0] > means[1]) == ((scores[0].value or 0) > (scores[1].value or 0))
    assert scores[2].value is None


def test_what_cannot_be_translated_or_asked_has_no_verdict(loaded: Loaded) -> None:
    ranker = TranslationRanker(Nobody(), loaded, {})
    assert [score.value for score in ranker.score(record(), ANSWERS)] == [None] * 3
    assert ranker.counts == {"language not translated": 1}
    english = record("Norway", "eng_Latn")
    assert all(score.value is not None for score in ranker.score(english, ["Norway", "Sweden"]))
