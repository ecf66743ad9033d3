"""Puts the table of a run into a page, between the marks that stand there.

`python -m benchmarks.serving.report [RUN.json] [--page docs/performance.md]`.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.results import Rate, Report, Result

_BEGIN, _END = "<!-- figures of a run: begin -->", "<!-- figures of a run: end -->"


def read_report(path: Path) -> Report:
    """Read what `benchmarks.serving` has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content["results"]:
        del row["is_met"]
    return Report(
        machine=content["machine"],
        results=[Result(**row) for row in content["results"]],
        rates=[Rate(**row) for row in content["rates"]],
        details=content["details"],
    )


def replace_figures(page: str, table: str) -> str:
    """Return the page with another table; ValueError when it has no marks."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: {_BEGIN} and {_END}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.report", description=__doc__
    )
    parser.add_argument(
        "results", nargs="?", type=Path, default=Path("build/benchmarks/serving.json")
    )
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    arguments = parser.parse_args()
    page = arguments.page.read_text(encoding="utf-8")
    table = read_report(arguments.results).to_markdown()
    arguments.page.write_text(replace_figures(page, table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
