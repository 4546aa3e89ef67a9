"""Checks everything under deploy/; `run` fetches what this needs and starts it. Prints a line for each check."""

import sys
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import agent  # noqa: E402
import files  # noqa: E402
import manifests  # noqa: E402
import metrics  # noqa: E402


def main():
    checks = [*manifests.CHECKS, *agent.CHECKS, *metrics.CHECKS, *files.CHECKS]
    failed = 0
    for check in checks:
        try:
            wrong = list(check())
        except Exception:
            wrong = [traceback.format_exc()]
        print(f"{'FAILED' if wrong else 'ok':6} {check.__doc__}")
        for line in wrong:
            print(f"       {line}")
        failed += bool(wrong)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
