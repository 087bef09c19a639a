"""Reports: findings → one page without a network, tables as CSV, everything as JSON."""

from codesign.report.mapping_losses import found_losses
from codesign.report.mapping_page import MappingView, write_mapping
from codesign.report.page import load_findings, write_report
from codesign.report.sentence import finding_sentence

__all__ = [
    "MappingView",
    "finding_sentence",
    "found_losses",
    "load_findings",
    "write_mapping",
    "write_report",
]
