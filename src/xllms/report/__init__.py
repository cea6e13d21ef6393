"""One static page per run, and the table that `xllms run` ends with."""

from xllms.report.page import build
from xllms.report.summary import scores_table, summary_table

__all__ = ["build", "scores_table", "summary_table"]
