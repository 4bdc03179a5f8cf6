#!/usr/bin/env python3
"""Compare the library with stored answers of the official models and evaluators.

Each file is run through our importer and model (or metric); every stored output is compared, and the exit code is 0
only if all of them hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from perception.errors import PerceptionError
from perception.parity.checks import Check
from perception.parity.files import check_file

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "golden"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="golden .npz or .json files")
    parser.add_argument(
        "--golden", type=Path, default=DEFAULT, help="folder with the key lists and the rule of the weights"
    )
    parser.add_argument("--failures", action="store_true", help="print only what failed")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    broken = 0
    for path in options.files:
        try:
            checks = list(check_file(path, options.golden))
        except PerceptionError as error:
            console.print(f"[red]{path.name}[/]: {error}", highlight=False)
            broken += 1
            continue
        wrong = [check for check in checks if not check.passed]
        broken += bool(wrong)
        _print(console, path, wrong if options.failures else checks)
        numbers = sum(check.compared for check in checks)
        verdict = f"[red]{len(wrong)} failed[/]" if wrong else "[green]all hold[/]"
        console.print(f"{path.name}: {len(checks)} checks of {numbers:,} numbers, {verdict}\n", highlight=False)
    console.print(f"{len(options.files) - broken} of {len(options.files)} files hold")
    return 1 if broken else 0


def _print(console: Console, path: Path, checks: list[Check]) -> None:
    if not checks:
        return
    table = Table(title=path.name, title_justify="left")
    table.add_column("what")
    for column in ("difference", "tolerance", "compared"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    table.add_column("note")
    for check in checks:
        verdict = "[green]holds[/]" if check.passed else "[red]FAILED[/]"
        figures = f"{check.difference:.2e}", f"{check.tolerance:.2e}", f"{check.compared:,}"
        table.add_row(check.name, *figures, verdict, check.note)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
