"""The Dockerfile, the systemd unit, scripts, and the tests that SECURITY.md names."""

import re
import shutil
import tempfile
from pathlib import Path

from shared import AGENT, DEPLOY, ROOT, command, must_fail

DOCKERFILE = DEPLOY / "docker/Dockerfile"
UNIT = DEPLOY / "systemd/sync-agent.service"
# Tenths; what has all of the machine has 96.
EXPOSURE_MAX = 20


def dockerfile():
    """the image's file has no fault, is built by the pinned toolchain and does not run as root"""
    text = DOCKERFILE.read_text()
    yield from lint(text)
    channel = re.search(r'^channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text(), re.M)[1]
    for wanted in (rf"^FROM rust:{re.escape(channel)}-", rf"^ENV RUSTUP_TOOLCHAIN={re.escape(channel)}$"):
        if not re.search(wanted, text, re.M):
            yield f"the toolchain is {channel}, and there is no {wanted}"
    last = text.rsplit("\nFROM ", 1)[1]
    if not re.search(r"^USER 65532:65532$", last, re.M) or re.search(r"^RUN ", last, re.M):
        yield "the last stage does not only copy, as another user than root"
    for line in (DEPLOY / "docker/Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!") and not (ROOT / line[1:]).exists():
            yield f"there is no {line[1:]} to be sent"
    yield from must_fail("an image without a version", lint("FROM rust\n"))
    yield from must_fail("a container of root", lint(text.replace("USER 65532:65532", "USER root")))


def lint(text):
    return command("hadolint", "--failure-threshold", "style", "-", input=text)


def unit():
    """the systemd unit is one, and leaves the agent little of the machine"""
    if not shutil.which("systemd-analyze"):
        print("       systemd-analyze is not here: passed over")
        return
    text = UNIT.read_text()
    yield from judge(text)
    yield from must_fail("a setting that is none", judge(text.replace("ProtectHome=", "ProtectHomes=")))
    open_unit = re.sub(r"^(Protect|Private|Restrict|System|Capab|Dynamic|NoNew|User).*\n", "", text, flags=re.M)
    yield from must_fail("a unit that is open", judge(open_unit))


def judge(text):
    with tempfile.TemporaryDirectory() as directory:
        there = Path(directory) / "sync-agent.service"
        there.write_text(text.replace("/usr/bin/sync-agent", AGENT))
        # A setting that is unknown is a warning, which is no failure.
        verify = 'words=$(systemd-analyze verify "$1" 2>&1) && [ -z "$words" ] || { echo "$words"; exit 1; }'
        yield from command("sh", "-c", verify, "-", there)
        yield from command("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", there)


def scripts():
    """scripts pass shellcheck"""
    found = [ROOT / ".ci/run", ROOT / ".ci/long", *sorted((ROOT / "tests/real").glob("*/run"))]
    yield from command("shellcheck", "--severity=warning", *found)
    yield from must_fail("a word that falls apart", command("shellcheck", "--shell=sh", "-", input="cd $1\n"))


def tests_of(text):
    """Of each line of a page's tables, the path and the names that its last cell gives."""
    for line in text.splitlines():
        cells = line.split("|")
        if len(cells) > 3 and "`" in cells[-2] and "/" in cells[-2]:
            yield line, re.findall(r"`([^`]+)`", cells[-2])


def judge_tests(text):
    for line, words in tests_of(text):
        at = None
        for word in words:
            if "/" in word:
                at = ROOT / word
                if not at.exists():
                    yield f"there is no {word}: {line}"
                    at = None
            elif at is not None and at.is_file() and not re.search(rf"\b{re.escape(word)}\b", at.read_text()):
                yield f"{at.relative_to(ROOT)} has no {word}"


def security():
    """the tests that SECURITY.md names are there"""
    text = (DEPLOY / "SECURITY.md").read_text()
    if len(list(tests_of(text))) < 15:
        yield "it names few tests"
    yield from judge_tests(text)
    yield from must_fail("a test that is none", judge_tests("| a | b | `tests/real/main.rs` `no_such_test` |"))
    yield from must_fail("a file that is none", judge_tests("| a | b | `tests/real/none.rs` |"))


CHECKS = [dockerfile, unit, scripts, security]
