"""The report of an evaluation: one HTML page with pictures, and the same tables as Markdown."""

from sleepstage.evaluation.report.page import write_report
from sleepstage.evaluation.report.sections import sections
from sleepstage.evaluation.report.tables import Picture, Section, Table

__all__ = ["Picture", "Section", "Table", "sections", "write_report"]
