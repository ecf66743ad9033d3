"""Looks the locked versions up in an advisory database, or says in one line why it cannot.

`python deploy/setup/audit.py [--lock cpu …] [OPTION…]`: other options are pip-audit's, such as
`--vulnerability-service osv --osv-url URL` for a mirror of OSV. Ends with 0 when nothing is
known of any version, with 1 when something is, with 3 when no database answers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_LOCKS = Path(__file__).parent / "locks"
ALL = ("cpu", "gpu", "vllm", "bulk", "dev")
_EVERYWHERE = "pip==24.0\n"
"""Every database has it: whoever does not know it knows nothing."""
_UNREACHABLE = 3
_REMEDY = (
    "run `make audit` where PyPI's JSON interface can be reached, or name a mirror of OSV: "
    'make audit AUDIT_ARGS="--vulnerability-service osv --osv-url URL"'
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy/setup/audit.py", description=__doc__)
    parser.add_argument("--lock", action="append", choices=ALL, help="by default all of them")
    arguments, options = parser.parse_known_args()
    if not has_answer(options):
        print(f"audit: no advisory database answers from here; {_REMEDY}", file=sys.stderr)
        return _UNREACHABLE
    found = 0
    for name in arguments.lock or ALL:
        found |= run_audit(["--strict", "-r", str(_LOCKS / f"{name}.txt"), *options]).returncode
    return 1 if found else 0


def has_answer(options: Sequence[str]) -> bool:
    """Whether a package that every database knows is known."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(_EVERYWHERE, encoding="utf-8")
        done = run_audit(["--format", "json", "-r", str(file), *options], capture=True)
    try:
        [package] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # pip-audit ended with an error
        return False
    return "vulns" in package


def run_audit(
    options: Sequence[str], *, capture: bool = False
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", *options]
    return subprocess.run(command, capture_output=capture, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
