"""What the checks share: where things are, and commands."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MONITORING = KUBERNETES / "components/monitoring"
TOOLS = Path(os.environ["DEPLOY_TOOLS"])
AGENT = os.environ["SYNC_AGENT"]


def command(*words, **options):
    """Runs it; what it printed, as lines that begin with what ran, if it failed."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, **options)
    if done.returncode == 0:
        return []
    return [f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip()]


def must_fail(what, wrong):
    """The other way round, for what was broken on purpose."""
    return [] if list(wrong) else [f"{what}: nothing was found wrong"]
