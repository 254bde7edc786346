#!/usr/bin/env python3
"""Checks the deployment, offline and without an AWS account.

    check_template.py               all checks
    check_template.py --self-test   breaks each rule in turn and sees that it is caught

Runs in an environment made from .ci/requirements.lock. Prints one line per check, then
`N passed, M failed`; exits with 1 where something failed.
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# SAM asks for a region before anything else; none is called.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ["SAM_CLI_TELEMETRY"] = "0"
sys.dont_write_bytecode = True

from template import model, sam_build  # noqa: E402
from template.broken import BREAKS  # noqa: E402
from template.events import EVENT_RULES  # noqa: E402
from template.metrics import METRIC_RULES  # noqa: E402
from template.operation import OPERATION_RULES  # noqa: E402
from template.recovery import RECOVERY_RULES  # noqa: E402
from template.rollout import ROLLOUT_RULES  # noqa: E402
from template.rules import RULES, FUNCTIONS, logical_id  # noqa: E402

ALL_RULES = RULES + EVENT_RULES + METRIC_RULES + OPERATION_RULES + RECOVERY_RULES + ROLLOUT_RULES
ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
REGIONS = ["us-east-1", "eu-central-1"]


class Report:
    """Counts, and prints one line per check."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def add(self, name: str, problems: list[str]) -> None:
        if problems:
            self.failed += 1
            print(f"FAIL  {name}")
            for problem in problems:
                print(f"      {problem}")
        else:
            self.passed += 1
            print(f"ok    {name}")

    def end(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def title(rule) -> str:
    """The first line of a rule's docstring: its name in the output."""
    return rule.__doc__.strip().splitlines()[0]


def run(*command: str, cwd: Path = ROOT) -> list[str]:
    """The output lines of a command that failed; nothing where it succeeded."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    if done.returncode == 0:
        return []
    return done.stdout.splitlines()[-40:] or [f"exit code {done.returncode}"]


def lint(path: Path | str, *ignored: str) -> list[str]:
    """cfn-lint's findings, warnings included."""
    ignored = ("-i", *ignored) if ignored else ()
    return run(str(BIN / "cfn-lint"), "--non-zero-exit-code", "warning", "-r", *REGIONS, *ignored, "--", str(path))


def check_with_tools(report: Report, sources: dict, scratch: Path) -> None:
    """What others' tools say: SAM of the source, cfn-lint of the source and of what becomes of it."""
    report.add("sam validate --lint", run(str(BIN / "sam"), "validate", "--lint"))
    for path in sources:
        report.add(f"cfn-lint {path}", lint(path))
    transformed = scratch / "transformed.json"
    transformed.write_text(json.dumps(model.transform(sources[model.ROOT_TEMPLATE]), indent=2))
    # W7001: the transformation has looked up what the mapping says.
    report.add("cfn-lint of the transformed template", lint(transformed, "W7001"))


def check_rules(report: Report, sources: dict) -> None:
    try:
        system = model.System(sources, ROOT)
    except model.Broken as broken:
        report.add("the stacks fit together", [str(broken)])
        return
    report.add("the stacks fit together", [])
    for rule in ALL_RULES:
        report.add(title(rule), rule(system))


def check_build(report: Report, scratch: Path) -> None:
    """sam build with a stand-in for cargo: what it would build, for whom, from where."""
    binaries = {logical_id(folder): folder for folder in FUNCTIONS}
    for architecture in ("arm64", "x86_64"):
        problems = sam_build.try_build(ROOT, scratch / architecture, BIN, architecture, binaries)
        report.add(f"sam build for {architecture} finds each binary", problems)


def self_test(report: Report) -> None:
    """Breaks one thing at a time in a copy, and looks for a finding that was not there before."""
    sources = model.load_sources(ROOT)
    before = model.System(sources, ROOT)
    for rule, what, change in BREAKS:
        broken = copy.deepcopy(sources)
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            sam_build.copy_checkout(ROOT, root)
            change(broken, root)
            try:
                found = set(rule(model.System(broken, root))) - set(rule(before))
            except model.Broken as fell_apart:
                found = {str(fell_apart)}
        report.add(f"{rule.__name__} catches: {what}", [] if found else ["not caught"])
    names = {rule.__name__ for rule in ALL_RULES}
    untested = names - {rule.__name__ for rule, _, _ in BREAKS}
    report.add("every rule is broken at least once", sorted(untested))
    with tempfile.TemporaryDirectory() as scratch:
        problems = sam_build.try_build(ROOT, Path(scratch), BIN, "arm64", {"Sweep": "api"})
        report.add("the trial build catches a wrong binary", [] if problems else ["not caught"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="break each rule, see it caught")
    options = parser.parse_args()
    report = Report()
    if options.self_test:
        self_test(report)
        return report.end()
    sources = model.load_sources(ROOT)
    scratch = Path(tempfile.mkdtemp(prefix="check-template-"))
    try:
        check_with_tools(report, sources, scratch)
        check_rules(report, sources)
        check_build(report, scratch)
    finally:
        shutil.rmtree(scratch)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
