"""How large a model is, without loading it: counted from its configuration, or from what is known of its name.

Operations follow the weights: those of the layers for every token that is run, those of the output head only where a
token is scored or written. The embedding is looked up and costs none, which of Gemma-3-270M is 6 tenths.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from xllms.errors import InputError
from xllms.planning.at_hand import model_file

_GATED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
_FOUR_NORMS = ("gemma2", "gemma3_text")
_NORMED_HEADS = ("qwen3", "gemma3_text")
_TIED_BY_DEFAULT = ("gemma", "gemma2", "gemma3_text", "bloom")
_IN_NAME = re.compile(r"(?<![a-z0-9])(\d+(?:[.p]\d+)?)([bm])(?![a-z])", re.IGNORECASE)
_WIDTH_PER_LAYER = 128  # of models from 1 to 70 billion weights, nearly


@dataclass(frozen=True)
class Shape:
    """What the weights of an architecture are counted from; the names are those of `models.csv`."""

    model_type: str
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    tied: bool


@dataclass(frozen=True)
class ModelSize:
    """Weights of a model.

    Attributes:
        name: as in the recipe.
        total: all weights.
        in_layers: of the matrices that every token goes through.
        head: of the output matrix, whether or not it is the embedding too.
        shape: that they were counted from; of a model that is known by its size alone, a guess.
        source: where the figures come from.
    """

    name: str
    total: float
    in_layers: float
    head: float
    shape: Shape
    source: str

    def adapter(self, r: int, targets: str | Sequence[str]) -> int:
        """Weights of a LoRA adapter of rank `r`.

        Raises:
            InputError: the targets match no matrix of this architecture.
        """
        matrices = _matrices(self.shape)
        if targets == "all-linear":
            wanted = list(matrices)
        elif targets == "attention":
            wanted = [name for name in matrices if "att" in name]
        else:
            ends = [targets] if isinstance(targets, str) else targets
            wanted = [name for name in matrices if any(name == end or name.endswith(f".{end}") for end in ends)]
            unknown = [end for end in ends if not any(name == end or name.endswith(f".{end}") for name in matrices)]
            if unknown and not self.guessed:
                there = ", ".join(name.rpartition(".")[2] for name in matrices)
                raise InputError(f"lora.targets: {', '.join(unknown)} matches no layer of {self.name}; it has {there}")
        return self.shape.layers * r * sum(sum(matrices[name]) for name in wanted or matrices)

    @property
    def guessed(self) -> bool:
        """Whether only the total is known."""
        return self.shape.model_type == "guess"


def model_size(name: str, parameters: float | None = None) -> ModelSize:
    """The size of a model.

    Args:
        name: as in a recipe: a shipped model, a local folder, or a hub id.
        parameters: what the user says, if anything.

    Raises:
        InputError: nothing is known of it; says how to give it.
    """
    if parameters is not None:
        if not 1e5 <= parameters <= 1e14:
            raise InputError(f"--parameters {parameters:g}: must be above 0, and a number of weights, such as 7e9")
        return _of_total(name, parameters, "--parameters; the shape of the layers is guessed from it")
    if (path := model_file(name, "config.json")) is not None:
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            text = config.get("text_config") or config
            if text.get("model_type") in (*_GATED, "bloom") and not text.get("num_local_experts"):
                return _of_shape(name, shape_of(text), "the model's config.json")
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise InputError(
                f"{path}: not a configuration that weights can be counted from ({error!r}); give --parameters N"
            ) from None
        raise InputError(
            f"{path}: weights of architecture {text.get('model_type')} cannot be counted here; give --parameters N"
        )
    if (known := _known().get(name)) is not None:
        return _of_shape(name, known, "its published configuration (planning/models.csv)")
    if found := _IN_NAME.findall(name.rpartition("/")[2]):
        number, unit = found[-1]
        total = float(number.replace("p", ".")) * (1e9 if unit.lower() == "b" else 1e6)
        return _of_total(name, total, f"the number in its name ({number}{unit}); the shape of the layers is guessed")
    raise InputError(
        f"model {name}: not at hand, and nothing is known of its size; give --parameters N, such as --parameters 7e9"
    )


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape in a configuration of transformers."""
    hidden = int(config.get("hidden_size") or config["n_embed"])
    layers = int(config.get("num_hidden_layers") or config["n_layer"])
    heads = int(config.get("num_attention_heads") or config["n_head"])
    kind = str(config["model_type"])
    return Shape(
        kind,
        hidden,
        int(config.get("intermediate_size") or 4 * hidden),
        layers,
        heads,
        int(config.get("num_key_value_heads") or heads),
        int(config.get("head_dim") or hidden // heads),
        int(config["vocab_size"]),
        bool(config.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT)),
    )


def _matrices(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name of each linear map of one layer -> (inputs, outputs)."""
    hidden, inner = shape.hidden, shape.inner
    query, key = shape.heads * shape.head_width, shape.key_heads * shape.head_width
    if shape.model_type == "bloom":
        return {
            "self_attention.query_key_value": (hidden, 3 * hidden),
            "self_attention.dense": (hidden, hidden),
            "mlp.dense_h_to_4h": (hidden, inner),
            "mlp.dense_4h_to_h": (inner, hidden),
        }
    return {
        "self_attn.q_proj": (hidden, query),
        "self_attn.k_proj": (hidden, key),
        "self_attn.v_proj": (hidden, key),
        "self_attn.o_proj": (query, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }


def _vectors(shape: Shape) -> int:
    """Norms and biases of one layer."""
    hidden, query, key = shape.hidden, shape.heads * shape.head_width, shape.key_heads * shape.head_width
    if shape.model_type == "bloom":
        return 4 * hidden + sum(outputs for _, outputs in _matrices(shape).values())
    norms = (4 if shape.model_type in _FOUR_NORMS else 2) * hidden
    heads = 2 * shape.head_width if shape.model_type in _NORMED_HEADS else 0
    return norms + heads + (query + 2 * key if shape.model_type == "qwen2" else 0)


def _of_shape(name: str, shape: Shape, source: str) -> ModelSize:
    matrices = shape.layers * sum(inputs * outputs for inputs, outputs in _matrices(shape).values())
    head = shape.vocabulary * shape.hidden
    last = (4 if shape.model_type == "bloom" else 1) * shape.hidden  # BLOOM norms its embeddings, too
    total = matrices + shape.layers * _vectors(shape) + head * (1 if shape.tied else 2) + last
    return ModelSize(name, total, matrices, head, shape, source)


def _of_total(name: str, total: float, source: str) -> ModelSize:
    layers = max(1, round((total / (12 * _WIDTH_PER_LAYER**2)) ** (1 / 3)))
    hidden = max(8, round((total / 12 / layers) ** 0.5))
    shape = Shape("guess", hidden, round(8 * hidden / 3), layers, max(1, hidden // 128), max(1, hidden // 128), 128, 0,
                  True)  # fmt: skip
    return ModelSize(name, total, total, 0, shape, source)


@cache
def _known() -> dict[str, Shape]:
    with files("xllms.planning").joinpath("models.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [name for name in asdict(_EMPTY) if name not in ("model_type", "tied")]
    return {
        row["name"]: Shape(
            model_type=row["model_type"], tied=row["tied"] == "1", **{name: int(row[name]) for name in numbers}
        )
        for row in rows
    }


_EMPTY = Shape("", 0, 0, 0, 0, 0, 0, 0, True)
