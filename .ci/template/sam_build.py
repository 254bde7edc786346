"""Runs `sam build` in a copy of the checkout, with a stand-in for cargo that compiles nothing: it
writes down how it was called and leaves a file where cargo lambda would leave the binary. So the
template's part of a build is tested on a machine that has no cross-compiler."""

import os
import re
import shutil
import subprocess
from pathlib import Path

CARGO = """#!/bin/sh
# cargo lambda build --release [--arm64] --bin NAME
[ "$1 $2" = "lambda build" ] || exit 1
echo "$PWD: $*" >> "$CALLS"
while [ $# -gt 1 ]; do
  [ "$1" = --bin ] && bin="$2"
  shift
done
mkdir -p "target/lambda/$bin" && printf %s "$bin" > "target/lambda/$bin/bootstrap"
"""


def copy_checkout(root: Path, to: Path) -> None:
    """Copies what a build of the template looks at."""
    for name in ("template.yaml", "samconfig.toml", "Cargo.toml"):
        shutil.copy(root / name, to / name)
    shutil.copytree(root / "events", to / "events")
    (to / "infra").mkdir()
    for path in [*root.glob("infra/*.yaml"), *root.glob("infra/*.json"), *root.glob("infra/*.md")]:
        shutil.copy(path, to / "infra" / path.name)
    for manifest in root.glob("functions/*/Cargo.toml"):
        home = to / "functions" / manifest.parent.name
        (home / "src").mkdir(parents=True)
        shutil.copy(manifest, home / "Cargo.toml")
        if (manifest.parent / "src/main.rs").exists():
            shutil.copy(manifest.parent / "src/main.rs", home / "src/main.rs")
    runtime = Path("shared/runtime/src")
    (to / runtime).mkdir(parents=True)
    shutil.copy(root / runtime / "metrics.rs", to / runtime / "metrics.rs")


def try_build(root: Path, scratch: Path, tools: Path, architecture: str, binaries: dict) -> list[str]:
    """Builds for one architecture. `binaries` maps a function to the binary that must become its
    bootstrap."""
    checkout = scratch / "checkout"
    shims = scratch / "bin"
    checkout.mkdir(parents=True)
    shims.mkdir()
    copy_checkout(root, checkout)
    config = checkout / "samconfig.toml"
    config.write_text(re.sub("Architecture=(arm64|x86_64)", f"Architecture={architecture}", config.read_text()))
    for name in ("cargo", "cargo-lambda"):
        (shims / name).write_text(CARGO)
        (shims / name).chmod(0o755)
    calls = scratch / "calls"
    calls.touch()
    environment = dict(os.environ, PATH=f"{shims}:{os.environ['PATH']}", CALLS=str(calls))
    done = subprocess.run(
        [str(tools / "sam"), "build"],
        cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=300,
    )
    if done.returncode != 0:
        return done.stdout.splitlines()[-20:]
    problems = []
    for function, binary in binaries.items():
        bootstrap = checkout / ".aws-sam/build" / function / "bootstrap"
        built = bootstrap.read_text() if bootstrap.exists() else None
        if built != binary:
            problems.append(f"{function} became {built}, not {binary}")
    for call in calls.read_text().splitlines():
        if not call.startswith(f"{checkout.resolve()}: "):
            problems.append(f"not built from the workspace root: {call}")
        if ("--arm64" in call) != (architecture == "arm64"):
            problems.append(f"not built for {architecture}: {call}")
        if "--release" not in call:
            problems.append(f"not a release build: {call}")
    if len(calls.read_text().splitlines()) != len(binaries):
        problems.append(f"{len(calls.read_text().splitlines())} builds for {len(binaries)} functions")
    return problems
