"""How fast a stage runs: as measured in this run's finished stages, or by a GPU's data sheet and an assumed efficiency.

Training is bound by operations; writing answers reads all weights for each token of a batch, so it is bound by the
memory's bandwidth while the batch is small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xllms.errors import InputError
from xllms.planning.gpus import Gpu

EFFICIENCY = 0.4


@dataclass(frozen=True)
class Run:
    """A finished stage: what it computed, how long it took, and in how many processes."""

    stage: str
    operations: float
    seconds: float
    processes: int
    asks: bool
    wide: int

    @property
    def rate(self) -> float:
        """Operations a second of one process."""
        return self.operations / self.seconds / self.processes


@dataclass(frozen=True)
class Speed:
    """Seconds of a stage.

    Attributes:
        gpu: that is planned for; none: the machine that the finished stages ran on.
        efficiency: share of the data sheet's figures that is reached.
        training: operations a second, measured in training; none where nothing was.
        asking: likewise of writing answers.
        source: in words.
        measured: whether it is.
    """

    gpu: Gpu | None
    efficiency: float
    training: float | None
    asking: float | None
    source: str
    measured: bool

    def of_training(self, operations: float, wide: int, gpus: int) -> float | None:
        """Seconds of a training stage that computes in numbers of so many bytes."""
        if self.gpu is not None:
            return operations / (peak(self.gpu, wide) * self.efficiency * gpus)
        return operations / (self.training * gpus) if self.training else None

    def of_asking(self, read: float, written: float, streamed: float, wide: int) -> float | None:
        """Seconds of a stage that asks models.

        Args:
            read: operations to read prompts.
            written: operations to write answers.
            streamed: bytes of weights that are read for that.
            wide: bytes of a number.
        """
        if self.gpu is None:
            rate = self.asking or self.training
            return (read + written) / rate if rate else None
        operations = peak(self.gpu, wide) * self.efficiency
        return read / operations + max(
            written / operations, streamed / (self.gpu.bandwidth_tbs * 1e12 * self.efficiency)
        )


def peak(gpu: Gpu, wide: int) -> float:
    """Operations a second by the data sheet, in numbers of so many bytes."""
    return 1e12 * (gpu.tflops if wide == 2 and gpu.has_bfloat16 else gpu.float32_tflops)


def speed(gpu: Gpu | None, efficiency: float | None, measured_on: Gpu | None, runs: Sequence[Run]) -> Speed:
    """The best that is known of the speed.

    Args:
        gpu: to plan for.
        efficiency: as the user says; none: `EFFICIENCY`, unless it was measured.
        measured_on: the GPU that the finished stages ran on, if the user says so.
        runs: finished stages with their seconds.

    Raises:
        InputError: an efficiency outside (0, 1]; `measured_on` without a finished training stage.
    """
    if efficiency is not None and not 0 < efficiency <= 1:
        raise InputError(f"--efficiency {efficiency:g}: must be above 0 and at most 1, such as 0.4")
    trained = next((run for run in runs if not run.asks), None)
    asked = next((run for run in runs if run.asks), None)
    if measured_on is not None:
        if trained is None:
            raise InputError("--measured-on: the run holds no finished sft or dpo stage to measure; leave it out")
        reached = trained.rate / peak(measured_on, trained.wide)
        text = f"measured: {trained.stage} reached {reached:.1%} of {measured_on.name}'s peak"
        return Speed(gpu or measured_on, min(1.0, efficiency or reached), None, None, text, True)
    if gpu is not None:
        used = efficiency or EFFICIENCY
        text = f"ASSUMED: {used:.0%} of what {gpu.name}'s data sheet says (--efficiency), several GPUs without loss"
        return Speed(gpu, used, None, None, text, False)
    if trained is not None or asked is not None:
        text = (
            "measured in " + " and ".join(run.stage for run in (trained, asked) if run) + " of this run, where it ran"
        )
        return Speed(None, 1.0, trained.rate if trained else None, asked.rate if asked else None, text, True)
    return Speed(None, 1.0, None, None, "unknown: name a GPU with --gpu", False)
