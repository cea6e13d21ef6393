"""The `xllms` command: parses, calls one stage or tool, nothing more.

Imports at the top of its modules are kept light: help and a typo answer in a fraction of a second, without torch.
"""

from xllms.cli import cluster, planning, stages, tools
from xllms.cli.app import app
from xllms.cli.exits import main

__all__ = ["app", "cluster", "main", "planning", "stages", "tools"]
