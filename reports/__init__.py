"""Points to figures and pages: records of a run, Pareto fronts with uncertainty, images and the HTML report.

A report is drawn from records alone, on a machine that need not have any runtime installed.
"""

from reports.page import ReportFiles, write_report
from reports.results import (
    UNPRUNED,
    Closure,
    PartTime,
    Point,
    Round,
    Run,
)
from reports.run_folder import read_run, write_point, write_run
from reports.table_page import TableFiles, write_table_report
from reports.table_record import TableRecord, read_table

__all__ = [
    "UNPRUNED",
    "Closure",
    "PartTime",
    "Point",
    "ReportFiles",
    "Round",
    "Run",
    "TableFiles",
    "TableRecord",
    "read_run",
    "read_table",
    "write_point",
    "write_report",
    "write_run",
    "write_table_report",
]
