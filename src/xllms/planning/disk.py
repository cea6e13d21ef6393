"""What the folders of a run will take: weights and optimiser state by their number, text by its records.

What files cost beside their content was measured: 2.6 kB for each tensor in a checkpoint, 4.9 kB for a Parquet file of
predictions, 1.4 kB of scores for each. The report (a tenth of a megabyte and more) is not counted.
"""

from math import ceil

from xllms.planning.at_hand import tokenizer_bytes
from xllms.planning.data import Data, Parts
from xllms.planning.generation_work import Generation
from xllms.planning.model_size import ModelSize
from xllms.planning.training_work import Load
from xllms.recipe import TrainingSettings

_FLOAT = 4
_KEPT = 2  # checkpoints
_STATE = 3  # a weight and its two moments
_TENSOR, _PARQUET, _SCORES = 2600, 4900, 1400
_PACKED = 0.25  # of the text, in a Parquet file by zstd
_PAIR, _RANKING, _SAMPLE = 110, 460, 100  # what stands around the texts


def instructions_bytes(data: Data) -> float:
    """Records, rejected ones, data card, manifest."""
    languages = {code for parts in data.splits.values() for code in parts}
    texts = sum(part.bytes for parts in data.splits.values() for part in parts.values())
    return texts + data.rejected_bytes + 4000 + 650 * len(languages)


def training_bytes(size: ModelSize, adapter: int | None, tensors: int, load: Load, settings: TrainingSettings) -> float:
    """What is tuned with its tokenizer, the newest checkpoints, the log.

    Args:
        size: of the model.
        adapter: weights of the adapter; None where all are trained.
        tensors: that are trained.
        load: of the stage.
        settings: of the stage.
    """
    trained = size.total if adapter is None else adapter
    saves = ceil(load.steps / settings.save_every)
    checkpoint = _STATE * (_FLOAT * trained + _TENSOR * tensors)
    lines = load.steps / settings.log_every + (load.steps / settings.validate_every if settings.validate_every else 1)
    seen = min(len(load.languages), settings.batch_size * settings.log_every)
    log = lines * (130 + 48 * seen) + 130 * len(load.languages)
    return _FLOAT * trained + 140 * tensors + tokenizer_bytes(size.name) + min(saves, _KEPT) * checkpoint + log + 4000


def feedback_bytes(work: Generation, pairs: Parts, held: Parts) -> float:
    """Candidates, rankings and pairs."""
    made = [part for parts in (pairs, held) for part in parts.values()]
    written = sum(part.bytes + _PAIR * part.count for part in made)
    return work.bytes + written + work.prompts * _RANKING + work.answers * _SAMPLE + 2000


def evaluation_bytes(work: Generation) -> float:
    """Predictions and scores."""
    return work.tables * (_PARQUET + _SCORES) + _PACKED * work.bytes + 6000
