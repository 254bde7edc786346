"""Reports third-party crates that the development profile compiles more than once.

Cargo compiles a crate once for each set of features, so the graphs of `cargo run -p local`, `cargo test --workspace`
and `cargo test -p PACKAGE` must ask for the same features of each version. Build scripts, procedural macros and what
only they use are left aside. Nothing is built: the graphs are Cargo's own (`--unit-graph`, an unstable option, which
`RUSTC_BOOTSTRAP` opens).

    python .ci/check_single_build.py [--self-test]
"""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def cargo(*arguments):
    """Returns what a cargo command prints as JSON."""
    environment = dict(os.environ, RUSTC_BOOTSTRAP="1")
    done = subprocess.run(["cargo", *arguments], cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cargo {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def commands():
    """Returns the commands whose builds must agree."""
    packages = cargo("metadata", "--no-deps", "--format-version", "1")["packages"]
    yield "run", ["build", "-p", "local"]
    yield "test --workspace", ["test", "--workspace"]
    for package in packages:
        # With the version, since a crate of somebody else's may have the same name.
        yield f"test -p {package['name']}", ["test", "-p", f"{package['name']}@{package['version']}"]


def is_third_party_library(unit):
    """Returns whether a unit is a third-party library that our code links; tools of the build have no debug info."""
    kinds = unit["target"]["kind"]
    ours = unit["pkg_id"].startswith("path+file")
    tool = "custom-build" in kinds or "proc-macro" in kinds or unit["profile"]["debuginfo"] in (0, "0")
    return unit["mode"] == "build" and not ours and not tool


def faults(graphs):
    """Yields one line for each crate that two commands build differently, given (command, unit graph) pairs."""
    builds = collections.defaultdict(dict)
    for command, graph in graphs:
        for unit in filter(is_third_party_library, graph["units"]):
            build = (tuple(sorted(unit["features"])), unit["profile"]["opt_level"])
            builds[unit["pkg_id"].rsplit("#", 1)[-1]].setdefault(build, command)
    for crate, found in sorted(builds.items()):
        union = set().union(*(features for features, _ in found))
        for (features, opt_level), command in found.items():
            if len(found) > 1:
                missing = ", ".join(sorted(union - set(features))) or "nothing"
                yield f"{crate} is built apart by `cargo {command}` (opt-level {opt_level}); features missing there: {missing}"


def self_test():
    """Asserts that a difference in features is found, and a difference in a procedural macro is not."""

    def unit(name, features, kind="lib"):
        profile = {"debuginfo": "line-tables-only", "opt_level": "0"}
        return {
            "pkg_id": f"registry+index#{name}@1.0.0",
            "target": {"kind": [kind]},
            "mode": "build",
            "features": features,
            "profile": profile,
        }

    def graph(features):
        return {"units": [unit("a", features), unit("b", ["x"]), unit("macro", features, "proc-macro")]}

    assert not list(faults([("run", graph(["std"])), ("test", graph(["std"]))]))
    found = list(faults([("run", graph([])), ("test", graph(["std"]))]))
    assert len(found) == 2 and "a@1.0.0" in found[0] and "std" in found[0], found


def main():
    if "--self-test" in sys.argv[1:]:
        self_test()
        return
    graphs = [(name, cargo(*command, "--unit-graph", "-Z", "unstable-options")) for name, command in commands()]
    found = list(faults(graphs))
    print(f"{len(graphs)} commands, {len(found)} faults")
    for fault in found:
        print(fault)
    if found:
        raise SystemExit("add the missing features to infra/unified-features/Cargo.toml")


if __name__ == "__main__":
    main()
