"""Units of work in this process, in local processes, or on Ray; what a unit does is the same everywhere.

A unit leaves its result in a file of its own and is never begun when that file is there: so whoever runs the units,
and however often they are killed, the files are the same.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from xllms.errors import InputError, XllmsError

Unit = TypeVar("Unit")
Work = Callable[[Unit], object]
Executor = Literal["here", "processes", "ray"]
_JOINING = 120.0  # seconds that a cluster of several nodes may take to be whole


def run_units(
    make: Callable[[], Work[Unit]], units: Sequence[Unit], executor: Executor, workers: int
) -> Iterator[Unit]:
    """Run every unit, and yield each when it is done.

    Args:
        make: makes what runs a unit: once here, or once in each worker, where it may load an engine. It and the units
            are pickled for workers.
        units: of work, independent of each other.
        executor: `here`; `processes` on this machine; `ray` on the cluster that `RAY_ADDRESS` names, else on this
            machine, one actor with a GPU each where there are GPUs.
        workers: processes or actors.

    Raises:
        XllmsError: what the first unit that failed raised; no further one is begun, those under way may be finished.
        InputError: Ray is not installed.
    """
    if executor == "here" or not units:
        work = make() if units else None
        for unit in units:
            assert work is not None
            work(unit)
            yield unit
    elif executor == "processes":
        yield from _in_processes(make, units, workers)
    else:
        yield from _on_ray(make, units, workers)


_work: Work[Any] | None = None


def _start(make: Callable[[], Work[Any]]) -> None:
    global _work
    _work = make()


def _run(unit: Unit) -> Unit:
    assert _work is not None
    _work(unit)
    return unit


def _in_processes(make: Callable[[], Work[Unit]], units: Sequence[Unit], workers: int) -> Iterator[Unit]:
    context = multiprocessing.get_context("spawn")  # a fork would copy threads and CUDA
    with ProcessPoolExecutor(workers, context, _start, (make,)) as pool:
        try:
            yield from _each(pool, iter(units), 2 * workers)
        except BrokenProcessPool:
            raise XllmsError(
                "a worker process died (out of memory, or killed); what was finished is kept: run the same command "
                "again, with fewer `workers` if memory is short"
            ) from None


def _each(pool: ProcessPoolExecutor, units: Iterable[Unit], ahead: int) -> Iterator[Unit]:
    """Few units wait at once, so that what they hold is not all in memory; after an error none is begun."""
    units = iter(units)
    running: set[Future[Unit]] = {pool.submit(_run, unit) for unit in islice(units, ahead)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                yield future.result()
            except BaseException:
                for waiting in running:
                    waiting.cancel()
                raise
            running.update(pool.submit(_run, unit) for unit in islice(units, 1))


class _Actor(Generic[Unit]):
    """What Ray keeps alive: one engine, many units."""

    def __init__(self, make: Callable[[], Work[Unit]]) -> None:
        self._work = make()

    def run(self, unit: Unit) -> Unit:
        self._work(unit)
        return unit


def _room(ray: Any) -> tuple[dict[str, float], int]:
    """What the cluster has, and how many actors find a place in it."""
    there: dict[str, float] = ray.cluster_resources()
    return there, int(there["GPU"] if there.get("GPU") else there.get("CPU", 0))


def _on_ray(make: Callable[[], Work[Unit]], units: Sequence[Unit], workers: int) -> Iterator[Unit]:
    try:
        import ray
        from ray.util import ActorPool
    except ModuleNotFoundError:
        raise InputError("executor: ray: not installed; run `pip install ray`, or take executor: processes") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    there, room = _room(ray)
    deadline = time.monotonic() + (_JOINING if os.environ.get("RAY_ADDRESS") else 0)
    while workers > room and time.monotonic() < deadline:  # a job's nodes join one after the other
        time.sleep(1)
        there, room = _room(ray)
    if workers > room:  # an actor without a place would wait for ever
        raise InputError(
            f"executor: ray: {workers} workers, and the cluster has {room} {'GPUs' if there.get('GPU') else 'CPUs'}; "
            f"set instructions.workers={max(1, room)}"
        )
    remote = ray.remote(_Actor).options(num_gpus=1 if there.get("GPU") else 0, num_cpus=1)
    pool = ActorPool([remote.remote(make) for _ in range(workers)])
    try:
        yield from pool.map_unordered(lambda actor, unit: actor.run.remote(unit), units)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, XllmsError) else error from None
    except ray.exceptions.RayActorError as error:
        raise XllmsError(
            f"a Ray actor died ({str(error).splitlines()[0]}); what was finished is kept: run the same command again"
        ) from None
