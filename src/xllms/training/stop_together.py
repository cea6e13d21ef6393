"""Processes that train together stop together.

A scheduler's signal may reach one process only, and a file is seen by one sooner than by another. A process that
stopped alone would leave the others waiting for it in their next sum, so each says what it heard and all do the same.
"""

import os
from typing import NoReturn

from xllms import stopping
from xllms.errors import Stopped
from xllms.training.parallel import Processes


def agreed(processes: Processes) -> bool:
    """Whether any process was asked to stop; waits for all."""
    return processes.total(bool(stopping.asked()))[0] > 0


def stop_with_all_kept(processes: Processes, after: str) -> NoReturn:
    """End on every process, once the main one has noted that something was kept.

    Args:
        processes: all of them call this.
        after: what was done, such as `step 37 of 120`.

    Raises:
        Stopped: always.
    """
    if processes.main:
        stopping.yielded()
    processes.barrier()  # a launcher ends the others as soon as one has ended
    raise Stopped(f"stopped as asked after {after}; the same command goes on from there", kept=True)


def stop_with_nothing_done(before: str) -> NoReturn:
    """End on every process, where a job that is started again would come no further.

    Args:
        before: what was not finished, such as `the first step`.

    Raises:
        Stopped: always.
    """
    left = os.environ[stopping.STOP_FILE] if stopping.asked() == stopping.STOP_FILE else None
    more = f", or remove {left} if an earlier job left it" if left else ""
    raise Stopped(f"stopped before {before} was done: give the job more time{more}", kept=False)
