"""Reports of evaluation runs, as Markdown and as one HTML page, and comparisons of two runs."""

from secateur.eval.report.files import write_report

__all__ = ["write_report"]
