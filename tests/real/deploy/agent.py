"""Example configs and commands, as the agent itself judges them."""

import re
import shutil
import tempfile
from pathlib import Path

from shared import AGENT, DEPLOY, command, must_fail

# What a cluster or systemd would put there, in a directory of the test's.
PLACES = ["/run/secrets/sync-agent", "/run/credentials/sync-agent.service", "/opt/sync-agent", "/var/lib/sync-agent"]
AUTHORITY = Path(__file__).resolve().parents[3] / "plugins/http/tests/tls/authority.pem"


def module():
    """The example `redact`, as the build made it for the agent's demo."""
    target = Path(AGENT).parent
    found = sorted(target.glob("build/sync-agent-*/out/redact.wasm"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"no redact.wasm in {target}/build: build the agent with its default features")
    return found[-1]


def prepared(text, directory):
    """A config whose keys and modules are there."""
    for path in re.findall(r'"(/[^"]*)"', text):
        if any(path.startswith(place + "/") for place in PLACES):
            there = directory / path[1:]
            there.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".wasm"):
                shutil.copy(module(), there)
            elif path.endswith(".pem"):
                shutil.copy(AUTHORITY, there)
            elif path.startswith("/run/"):
                there.write_text("KEY\n")
    for place in PLACES:
        text = text.replace(place, f"{directory}{place}")
    return text


def judge(text):
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "agent.toml"
        config.write_text(prepared(text, Path(directory)))
        yield from command(AGENT, "check", config)


def configs():
    """the agent accepts every example config"""
    examples = sorted(DEPLOY.rglob("*.toml"))
    if len(examples) < 3:
        yield f"only {len(examples)} were found"
    for example in examples:
        yield from (f"{example}: {line}" for line in judge(example.read_text()))
    text = examples[0].read_text()
    yield from must_fail("a destination that is none", judge(text.replace('"algolia"', '"algol"')))
    yield from must_fail("a key that is not there", judge(text.replace("/run/secrets/sync-agent/", "/run/secrets/other/")))


def commands_of(page):
    """The agent's commands in a page's blocks, as words; those in a pod, a container or as another user, too."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s#\s|&&|\|", line):
                words = part.split()
                if "sync-agent" in words and ("--" in words or words[0] in ("sync-agent", "sudo")):
                    start = words.index("--") + 1 if "--" in words else words.index("sync-agent")
                    if words[start : start + 1] == ["sync-agent"]:
                        yield words[start + 1 :]


def commands():
    """every command of the pages is one"""
    pages = sorted(DEPLOY.glob("*.md"))
    found = [words for page in pages for words in commands_of(page.read_text())]
    if len(found) < 5:
        yield f"only {len(found)} were found"
    for words in found:
        # What stands before it is parsed before help is given.
        yield from command(AGENT, *words, "--help")
    yield from must_fail("a flag that is none", command(AGENT, "drain", "--waits", "--help"))


CHECKS = [configs, commands]
