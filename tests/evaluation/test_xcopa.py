"""XCOPA by likelihood ranking: the real files, scored as one text at a time would be."""

from pathlib import Path

import pytest
import torch

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.evaluation import xcopa
from xllms.models import Loaded, load
from xllms.packing.logprobs import base_model
from xllms.recipe import EvaluationSettings, ModelSettings


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Loaded:
    return load(ModelSettings(name=str(tiny_model_folder), dtype="float32"), "alpaca")


def test_all_twelve_languages_are_read() -> None:
    tasks = xcopa.read(shared_data("xcopa").parent, "validation", EvaluationSettings().xcopa_languages)
    assert len(tasks) == 12
    assert all(len(task.items) == 100 for task in tasks)
    tests = xcopa.read(shared_data("xcopa"), "test", ("en", "et", "id", "it", "sw", "zh"))
    # The originals are balanced; copies that carry label 0 everywhere are not.
    assert all(sum(item.label for item in task.items) == 250 for task in tests)


def test_scores_are_the_log_probabilities_of_each_text_alone(loaded: Loaded) -> None:
    (task,) = xcopa.read(shared_data("xcopa"), "validation", ("th",), limit=20)
    predictions = xcopa.predict(loaded, "base", task)
    assert len(predictions) == 20
    model = base_model(loaded.model)
    for item, prediction in zip(task.items[:4], predictions, strict=False):
        for number, choice in enumerate((item.choice1, item.choice2), 1):
            context = loaded.template.plain_ids(xcopa._context(task, item))
            going_on = loaded.template.continuation_ids(choice)
            ids = torch.tensor([context + going_on])
            with torch.no_grad():
                logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
            at = torch.arange(len(context) - 1, ids.shape[1] - 1)
            want = float(logprobs[at, ids[0, at + 1]].sum())
            assert prediction.scores[f"choice{number}"] == pytest.approx(want, abs=2e-3)
    for item, prediction in zip(task.items, predictions, strict=True):
        first_wins = prediction.scores["choice1"] >= prediction.scores["choice2"]
        assert prediction.output == (item.choice1 if first_wins else item.choice2)
        assert prediction.reference == (item.choice1, item.choice2)[item.label]
    score = xcopa.score(predictions)
    assert score["n"] == 20
    assert score["accuracy"] == sum(p.output == p.reference for p in predictions) / 20


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"xcopa/sw/val\.sw\.jsonl: no such file"):
        (tmp_path / "xcopa").mkdir()
        xcopa.read(tmp_path, "validation", ("sw", "th"))


def test_a_language_that_xcopa_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"XCOPA has no `fr`; it has en, et"):
        xcopa.read(tmp_path, "validation", ("fr",))


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sw" / "val.sw.jsonl"
    path.parent.mkdir()
    path.write_text(
        '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0}\n{"pre'
    )
    with pytest.raises(InputError, match=r"val\.sw\.jsonl:2: not JSON.*cut off"):
        xcopa.read(tmp_path, "validation", ("sw",))
    path.write_text('{"premise": "a", "choice1": "b", "question": "cause", "label": 0, "idx": 0}\n')
    with pytest.raises(InputError, match=r"val\.sw\.jsonl:1: choice2: field is missing"):
        xcopa.read(tmp_path, "validation", ("sw",))
