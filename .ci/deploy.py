#!/usr/bin/env python3
"""Deploys the real templates with this build's functions on an emulator of AWS, and uses what it deployed.

    deploy.py FOLDER_OF_BINARIES CHROMIUM [--keep FOLDER]

Runs in an environment made from .ci/requirements.lock. IAM is enforced: every function has the rights of its role and
no others. Google Drive is the simulated one. Prints what the emulator made necessary to change, a table of the steps,
and what can't be shown so; exits with 1 where a step failed. `deployment/steps.py` has the steps.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

# SAM asks for a region before anything else.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
sys.dont_write_bytecode = True

from deployment import emulator, rewrites  # noqa: E402
from deployment.browser import Browser  # noqa: E402
from deployment.stack import Stack  # noqa: E402
from deployment.steps import NOT_SHOWN, STEPS, Drive, World  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
LOG_LINES = 60


def title(function) -> str:
    """The first line of a docstring."""
    return function.__doc__.strip().splitlines()[0]


def library_in(work: Path) -> Path:
    """What is in the simulated Drive: some sample events, and a file that everybody edits."""
    library = work / "library"
    shutil.copytree(ROOT / "events" / "live", library / "live")
    (library / "plan.txt").write_text("First draft.\n")
    return library


def tell(world: World) -> None:
    """Prints what an operator would look at after a failure."""
    print("\n-- warnings and errors of the functions")
    for binary in world.stack.functions.values():
        try:
            lines = [line for line in world.log(binary) if '"level":"ERROR"' in line or '"level":"WARN"' in line or "panicked" in line]
        except Exception as error:  # Nothing is deployed yet.
            lines = [str(error)]
        for line in lines[-5:]:
            print(f"{binary}: {line[:600]}")
    print("\n-- the emulator")
    print("\n".join(world.emulator.log.read_text().splitlines()[-LOG_LINES:]))


def take_steps(world: World) -> bool:
    """Takes one step after the other, up to the first that fails. Returns whether none did."""
    for number, step in enumerate(STEPS):
        began = time.monotonic()
        try:
            result, seen = "ok", step(world)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)
            ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in place if "deployment" in frame.filename]
            result, seen = "FAIL", f"{type(error).__name__}: {error} ({', '.join(ours[:2])})"
        print(f"{result:4}  {time.monotonic() - began:6.1f} s  {title(step)}: {seen}", flush=True)
        if result != "ok":
            for later in STEPS[number + 1 :]:
                print(f"-              {title(later)}: not run")
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("binaries", type=Path, help="the folder of the functions' binaries and of drive-simulator")
    parser.add_argument("chromium", help="the path of Chromium")
    parser.add_argument("--keep", type=Path, help="a folder that keeps everything that was made, for a look at it")
    options = parser.parse_args()
    work = options.keep or Path(tempfile.mkdtemp(prefix="drivesync-deploy-"))
    work.mkdir(exist_ok=True)
    began = time.monotonic()
    print("Changed for the emulator:")
    for change in rewrites.SOURCE + rewrites.TRANSFORMED + emulator.PATCHES:
        print(f"- {change.__name__}: {title(change)}")
    print(flush=True)
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started, passed = [], False
    try:
        library = library_in(work)
        aws = emulator.Emulator(work / "emulator")
        started.append(aws.stop)
        drive = Drive(options.binaries / "drive-simulator", library, work / "drive.log")
        started.append(drive.stop)
        browser = Browser(options.chromium, aws.url)
        started.append(browser.close)
        world = World(ROOT, options.binaries, work, library, browser, aws, drive, Stack(aws, work))
        passed = take_steps(world)
        if not passed:
            tell(world)
    finally:
        for stop in reversed(started):
            stop()
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    print("\nNot shown by this:")
    for what in NOT_SHOWN:
        print(f"- {what}")
    print(f"\n{'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
