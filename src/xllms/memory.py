"""What is no longer used, back to the system."""

import contextlib
import ctypes
import gc
import sys


def release_memory() -> None:
    """Collect what holds itself (a trainer and its model do), and give freed pages back to the system.

    glibc keeps freed tensors of less than 32 MB in its heap, between others that live: 2 GB after the quickstart's
    training, which the next model would come on top of.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
