"""Fixtures that several rooms share: a tiny real model folder, and a recipe that runs in seconds."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# Tensors of a few hundred numbers: several threads only wait for each other (100 times slower on a busy machine).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def shared_data(*parts: str) -> Path:
    """A file of the shared test data; the test is skipped where it is absent."""
    path = SHARED_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} beside the checkout (../shared/data)")
    return path


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a byte-level tokenizer of its own, as a folder on disk."""
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-llama")


RECIPE = """\
output: {output}
seed: 3
languages: [Swahili, German, Arabic, Thai, English]
model: {{name: {model}, dtype: float32}}
threads: 1
instructions:
  sources: [{{type: cldr, train: 12, validation: 2, feedback: 4, evaluation: 4}}]
sft: {{batch_size: 8, max_steps: 6, save_every: 2, log_every: 1, validate_every: 3, lora: {{r: 4}}}}
feedback: {{languages: [Swahili, German, Arabic, Thai], prompts: 3, samples: 2, max_new_tokens: 6, batch_languages: 2}}
dpo: {{batch_size: 4, epochs: 3, max_steps: 4, save_every: 2, log_every: 1, learning_rate: 1.0e-3}}
evaluation: {{languages: [Swahili, German, Arabic, Thai], batch_items: 8, max_new_tokens: 6}}
"""


def write_recipe(folder: Path, model: Path) -> Path:
    """A recipe for the tiny model whose run goes into `folder/run`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(output=folder / "run", model=model), encoding="utf-8")
    return path
