"""`golfpipe doctor`"""

from __future__ import annotations

from golfpipe.cli.answer import Answer
from golfpipe.cli.options import OutputOptions
from golfpipe.cli.table import format_table
from golfpipe.errors import StageFailed


def doctor(options: OutputOptions) -> Answer:
    """Check this machine: packages, devices, fast paths, memory, disk.

    Reads nothing and writes nothing. Exits 1 if something that golfpipe needs is missing.

    \b
    Examples:
      golfpipe doctor
      golfpipe doctor --json
    """
    from golfpipe.machine.doctor import check_machine

    checks = check_machine()
    missing = [check for check in checks if check.status == "missing"]
    rows = [[check.name, check.status, check.found] for check in checks]
    error = None
    if missing:
        names = ", ".join(check.name for check in missing)
        error = StageFailed(f"missing: {names}", hint="pip install golfpipe in a fresh virtual environment")
    return Answer(
        lines=format_table(["check", "status", "found"], rows),
        extra={"checks": [{"name": c.name, "status": c.status, "found": c.found} for c in checks]},
        error=error,
    )
