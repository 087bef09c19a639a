"""Reports: findings → one page without a network, tables as CSV, everything as JSON."""

from codesign.report.page import load_findings, write_report
from codesign.report.sentence import finding_sentence

__all__ = ["finding_sentence", "load_findings", "write_report"]
