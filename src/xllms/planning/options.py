"""What a user says of the machines and the price, checked before anything is counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xllms.errors import InputError
from xllms.planning.gpus import Gpu

SHARED = ("sft", "dpo")  # stages whose work several GPUs share
STAGES = ("instructions", "sft", "feedback", "dpo", "evaluation")


@dataclass(frozen=True)
class Options:
    """Of a plan; what is none is not known.

    Attributes:
        gpu: to plan for; none: the machine that the run's finished stages ran on.
        gpus: stage -> how many.
        price: money for an hour of one GPU.
        efficiency: share of the data sheet's speed that is reached.
        parameters: weights of a model that is not at hand.
        data: whose texts stand for those that are not made yet.
        measured_on: the GPU that the run's finished stages ran on.
    """

    gpu: Gpu | None = None
    gpus: Mapping[str, int] = field(default_factory=dict)
    price: float | None = None
    efficiency: float | None = None
    parameters: float | None = None
    data: Path | None = None
    measured_on: Gpu | None = None

    def __post_init__(self) -> None:
        if self.price is not None and not self.price >= 0:
            raise InputError(f"--price {self.price:g}: money for an hour of one GPU cannot be below 0")
        for stage, number in self.gpus.items():
            _check(stage, number)


def read_gpus(text: str) -> dict[str, int]:
    """`sft=4,dpo=8`, or a number for both.

    Raises:
        InputError: anything else; an unknown stage, or one whose work GPUs cannot share.
    """
    if text.strip().isdigit():
        return {stage: _number(text, text) for stage in SHARED}
    found: dict[str, int] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        stage, equals, number = part.partition("=")
        if not equals:
            raise InputError(f"--gpus {text}: write STAGE=NUMBER, such as --gpus sft=4,dpo=8")
        found[stage.strip()] = _number(number, text)
        _check(stage.strip(), found[stage.strip()])
    return found


def _number(text: str, whole: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise InputError(f"--gpus {whole}: `{text.strip()}` is no number of GPUs; write such as --gpus sft=4,dpo=8")
    return int(text)


def _check(stage: str, number: int) -> None:
    if stage not in STAGES:
        raise InputError(f"--gpus: there is no stage `{stage}`; sft and dpo take several GPUs")
    if stage not in SHARED and number != 1:
        raise InputError(f"--gpus {stage}={number}: only sft and dpo share their work among GPUs; leave {stage} out")
