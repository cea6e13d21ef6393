"""A job: what is run, what it asks for, and which jobs must have done their work before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xllms.cluster.site import Site
from xllms.errors import InputError

State = Literal["held", "waiting", "running", "done", "failed", "cancelled", "unknown"]
ACTIVE: frozenset[State] = frozenset({"held", "waiting", "running"})
Launch = Literal["plain", "torchrun", "ray"]
TRAINING = frozenset({"sft", "dpo"})
ON_GPU = frozenset({"sft", "feedback", "dpo", "evaluation"})


@dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
        nodes: machines.
        gpus: of each node.
        cpus: of each node; None: the scheduler's default.
        memory: MiB of each node; None likewise.
        minutes: of wall time; None likewise.
        processes: of each node, that work together.
        queue: queue or partition.
        options: further lines for the scheduler.
    """

    nodes: int = 1
    gpus: int = 0
    cpus: int | None = None
    memory: int | None = None
    minutes: int | None = None
    processes: int = 1
    queue: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobSpec:
    """One job, for any scheduler.

    Attributes:
        name: of the stage.
        commands: arguments of `xllms`, one command after the other; `{part}` becomes the number of the task.
        resources: what it asks for.
        launch: plain: one process; torchrun: one on each GPU of each node; ray: one, with a Ray cluster over the nodes.
        after: names of jobs that must have ended well.
        tasks: of an array; 0: no array.
        at_once: tasks that may run at a time; None: all.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    resources: Resources
    launch: Launch = "plain"
    after: tuple[str, ...] = ()
    tasks: int = 0
    at_once: int | None = None


@dataclass(frozen=True)
class TaskState:
    """What a scheduler says of a job, or of one task of an array (`task` is 0 without one)."""

    task: int
    state: State
    exit_code: int | None = None
    said: str = ""


def resources(site: Site, job: str) -> Resources:
    """What a stage's job asks for at a site.

    Raises:
        InputError: processes that do not divide among the nodes.
    """
    needs, per_node = site.needs(job), site.gpus_per_node
    gpus = needs.gpus if needs.gpus is not None else (1 if per_node and job in ON_GPU else 0)
    nodes = needs.nodes or (max(1, gpus // per_node) if per_node else 1)
    together = gpus or (needs.processes if job in TRAINING and needs.processes else nodes)
    for what, number in (("GPUs", gpus), ("processes", together)):
        if number % nodes:
            raise InputError(f"{job}: {number} {what} do not divide among {nodes} nodes; change gpus or nodes")
    if per_node and gpus // nodes > per_node:
        raise InputError(f"{job}: {gpus // nodes} GPUs of a node that has {per_node}; change gpus or nodes")
    return Resources(
        nodes, gpus // nodes, needs.cpus, needs.memory, needs.time, together // nodes, needs.queue, needs.options
    )


def worst(states: Sequence[TaskState]) -> State:
    """The state of a job from those of its tasks."""
    found = {one.state for one in states}
    order: tuple[State, ...] = ("failed", "cancelled", "running", "waiting", "held", "unknown", "done")
    if found & ACTIVE and not found & {"failed", "cancelled"}:
        return next(state for state in order if state in found and state in ACTIVE)
    return next((state for state in order if state in found), "unknown")
