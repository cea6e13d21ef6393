"""COMET by its own command: the files that pass, and what is said when it fails.

The quick tests run a command of their own that reads and writes the same files; the slow one runs the real comet-score
on a tiny random checkpoint, where `XLLMS_COMET_SCORE` names it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xllms.errors import InputError, XllmsError
from xllms.metrics.comet import segment_scores

# Scores a translation by the words that it shares with source and reference.
STAND_IN = """\
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for option in ("--sources", "--translations", "--references", "--model", "--to_json"):
    parser.add_argument(option)
parser.add_argument("--gpus", type=int, default=1)
parser.add_argument("--quiet", action="store_true")
parser.add_argument("--only_system", action="store_true")
asked = parser.parse_args()
lines = lambda path: pathlib.Path(path).read_text(encoding="utf-8").split("\\n")[:-1]
if asked.references is None and asked.model == "reads-references":
    parser.error("reads-references requires -r/--references")
others = [lines(path) for path in (asked.sources, asked.references) if path]
found = []
for number, text in enumerate(lines(asked.translations)):
    known = {word for side in others for word in side[number].split()}
    found.append({"mt": text, "COMET": len(known & set(text.split())) / (1 + asked.gpus)})
if asked.model == "not-a-number":
    found[-1]["COMET"] = float("nan")
if asked.model == "stops-early":
    found.pop()
print("score", 0.5)
pathlib.Path(asked.to_json).write_text(json.dumps({asked.translations: found}), encoding="utf-8")
"""

CHECKPOINT = """\
import sys
from pathlib import Path
import pytorch_lightning, torch, yaml
from comet.models import str2model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

folder, kind = Path(sys.argv[1]), sys.argv[2]
encoder = folder / "encoder"
encoder.mkdir(parents=True)
letters = [(chr(code), -5.0) for code in [*range(33, 127), 0x2581, *range(0xC0, 0x180)]]
vocabulary = [(word, 0.0) for word in ("<s>", "<pad>", "</s>", "<unk>")] + letters + [("<mask>", 0.0)]
tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
)
XLMRobertaTokenizerFast(tokenizer_object=tokenizer).save_pretrained(encoder)
XLMRobertaConfig(
    vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37,
    max_position_embeddings=514, pad_token_id=1,
).save_pretrained(encoder)
torch.manual_seed(0)
settings = {"pretrained_model": str(encoder), "encoder_model": "XLM-RoBERTa", "hidden_sizes": [16],
            "load_pretrained_weights": False, "nr_frozen_epochs": 0, "keep_embeddings_frozen": False}
model = str2model[kind](**settings)
(folder / "checkpoints").mkdir()
torch.save(
    {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams),
     "pytorch-lightning_version": pytorch_lightning.__version__},
    folder / "checkpoints" / "model.ckpt",
)
(folder / "hparams.yaml").write_text(yaml.safe_dump({**settings, "class_identifier": kind}))
"""

SOURCES = ["Hallo Welt", "Guten Tag", "Danke"]
OUTPUTS = ["hello\nworld", "", "thanks a lot"]
REFERENCES = ["hello world", "good day", "thanks"]


@pytest.fixture
def command(tmp_path: Path) -> str:
    script = tmp_path / "comet score.py"
    script.write_text(STAND_IN, encoding="utf-8")
    return f"{sys.executable} '{script}'"


def test_scores_come_back_in_order(command: str) -> None:
    assert segment_scores(SOURCES, OUTPUTS, REFERENCES, "any", command) == [2, 0, 1]
    assert segment_scores(SOURCES, OUTPUTS, REFERENCES, "any", command, gpus=1) == [1, 0, 0.5]


def test_without_references(command: str) -> None:
    assert segment_scores(SOURCES, ["Hallo", "Tag Guten", "x"], None, "any", command) == [1, 2, 0]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("reads-references", r"ended with 2: .*reads-references requires -r/--references"),
        ("not-a-number", "1 of 3 scores are no numbers, first that of item 3"),
        ("stops-early", "it scored 2 of 3 items"),
    ],
)
def test_what_goes_wrong_is_said(model: str, said: str, command: str) -> None:
    with pytest.raises(XllmsError, match=said) as caught:
        segment_scores(SOURCES, OUTPUTS, None, model, command)
    assert "\n" not in str(caught.value)


def test_a_command_of_another_kind(command: str) -> None:
    with pytest.raises(XllmsError, match="not in the form of unbabel-comet"):
        segment_scores(SOURCES, OUTPUTS, None, "any", "true")


@pytest.mark.parametrize("absent", ["comet-score-that-is-nowhere", ""])
def test_no_command_says_how_to_get_it(absent: str) -> None:
    with pytest.raises(InputError, match="pip install unbabel-comet"):
        segment_scores(SOURCES, OUTPUTS, REFERENCES, "Unbabel/wmt22-comet-da", absent)


def test_sides_are_of_one_length(command: str) -> None:
    for sources, outputs, references in (([], [], None), (["a"], ["a", "b"], None), (["a"], ["b"], [])):
        with pytest.raises(ValueError, match="one at least"):
            segment_scores(sources, outputs, references, "any", command)


@pytest.mark.slow
def test_the_real_comet_score(tmp_path: Path) -> None:
    """With references and without, and the same scores when the items come in another order."""
    command = os.environ.get("XLLMS_COMET_SCORE")
    if command is None:
        pytest.skip("XLLMS_COMET_SCORE names no comet-score of unbabel-comet")
    for kind, references in (("regression_metric", REFERENCES), ("referenceless_regression_metric", None)):
        folder = tmp_path / kind
        python = Path(command).with_name("python")
        subprocess.run([python, "-c", CHECKPOINT, folder, kind], check=True, capture_output=True)
        model = str(folder / "checkpoints" / "model.ckpt")
        scores = segment_scores(SOURCES, OUTPUTS, references, model, command)
        assert len(set(scores)) == 3
        turned = [side and side[::-1] for side in (SOURCES, OUTPUTS, references)]
        assert segment_scores(turned[0], turned[1], turned[2], model, command) == pytest.approx(scores[::-1], abs=2e-3)
    with pytest.raises(XllmsError, match="requires -r/--references"):
        model = str(tmp_path / "regression_metric" / "checkpoints" / "model.ckpt")
        segment_scores(SOURCES, OUTPUTS, None, model, command)
