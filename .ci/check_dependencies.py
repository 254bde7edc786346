"""Holds every dependency to `deny.toml` (where it comes from, its licence, what is banned), and finds unused ones.

`cargo deny check licenses sources bans` says the same, and more (advisories, yanked versions). It is not run here:
no current build of it is in a package registry, and building it from source takes many minutes on two cores. The
workflow in `.github` runs it, each day.

    python .ci/check_dependencies.py [--self-test]
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def allows(expression, allowed):
    """Whether an SPDX expression can be met with allowed licences alone. `/` is Cargo's old word for OR."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def parse_any():
        met = parse_all()
        while words and words[0] == "OR":
            words.pop(0)
            met = parse_all() or met
        return met

    def parse_all():
        met = parse_one()
        while words and words[0] == "AND":
            words.pop(0)
            met = parse_one() and met
        return met

    def parse_one():
        word = words.pop(0)
        if word == "(":
            met = parse_any()
            if words.pop(0) != ")":
                raise ValueError(expression)
            return met
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return word in allowed

    try:
        met = parse_any()
    except IndexError as error:
        raise ValueError(expression) from error
    if words:
        raise ValueError(expression)
    return met


def faults(packages, rules):
    """What is wrong with each package that is not one of ours."""
    allowed = set(rules["licenses"]["allow"])
    registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
    banned = set(rules["bans"]["deny"])
    found = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            found.append(f"{name} is banned")
        if package["source"] is None:
            if not Path(package["manifest_path"]).is_relative_to(TOP):
                found.append(f"{name} comes from a folder outside of this workspace")
        elif package["source"] not in registries:
            found.append(f"{name} comes from {package['source']}")
        try:
            if not allows(package["license"] or "", allowed):
                found.append(f"{name} has the licence {package['license']}")
        except ValueError:
            found.append(f"{name} has a licence that can't be read: {package['license']}")
    return found


def words_of(folder):
    """Returns every identifier in the Rust sources below a package's folder."""
    sources = (source.read_text() for source in folder.rglob("*.rs"))
    return {word for source in sources for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", source)}


def unused(packages, libraries, words_of=words_of):
    """Returns the dependencies that a package of ours declares and no source of it names.

    `libraries` has the name of a package's library where it is not the package's own. `unified-features` has no code: it is declared for its manifest alone, and so is all that it declares.
    """
    found = []
    for package in packages:
        if package["name"] == "unified-features":
            continue
        named = words_of(Path(package["manifest_path"]).parent)
        for dependency in package["dependencies"]:
            name = dependency.get("rename") or libraries.get(dependency["name"], dependency["name"])
            name = name.replace("-", "_")
            if name not in named and name != "unified_features":
                found.append(f"{package['name']} declares {dependency['name']} and does not use it")
    return found


def self_test():
    member = {"name": "a", "manifest_path": "/a/Cargo.toml", "dependencies": [
        {"name": "serde-json"}, {"name": "long", "rename": "short"}, {"name": "md-5"}, {"name": "unified-features"}]}
    libraries = {"md-5": "md5"}
    assert unused([member], libraries, lambda _: {"serde_json", "short", "md5"}) == []
    assert len(unused([member], libraries, lambda _: {"serde", "long", "md_5"})) == 3
    allowed = {"MIT", "Apache-2.0"}
    for expression, met in {
        "MIT": True, "GPL-3.0": False, "MIT OR GPL-3.0": True, "GPL-3.0/MIT": True, "MIT AND GPL-3.0": False,
        "(MIT OR GPL-3.0) AND Apache-2.0": True, "(MIT OR Apache-2.0) AND GPL-3.0": False,
        "Apache-2.0 WITH LLVM-exception": False, "GPL-2.0 OR Apache-2.0 WITH LLVM-exception OR MIT": True,
    }.items():
        assert allows(expression, allowed) == met, expression
    for unreadable in ["", "MIT AND", "(MIT", "MIT Apache-2.0", "MIT)"]:
        try:
            allows(unreadable, allowed)
        except ValueError:
            continue
        raise AssertionError(f"{unreadable!r} was read")
    rules = {"licenses": {"allow": ["MIT"]}, "bans": {"deny": ["openssl"]},
             "sources": {"allow-registry": ["https://index"]}}
    good = {"name": "a", "version": "1", "license": "MIT", "source": "registry+https://index"}
    assert faults([good], rules) == []
    for change in [{"name": "openssl"}, {"license": None}, {"license": "GPL-3.0"}, {"source": "git+https://x"},
                   {"source": None, "manifest_path": "/elsewhere/Cargo.toml"}]:
        assert len(faults([good | change], rules)) == 1, change


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, cwd=TOP, check=True, capture_output=True).stdout)
    rules = tomllib.loads((TOP / "deny.toml").read_text())
    members = set(metadata["workspace_members"])
    ours = [package for package in metadata["packages"] if package["id"] in members]
    libraries = {
        package["name"]: target["name"]
        for package in metadata["packages"] for target in package["targets"] if any(kind.endswith("lib") for kind in target["kind"])
    }
    found = faults(metadata["packages"], rules) + unused(ours, libraries)
    for fault in found:
        print(fault)
    print(f"{len(metadata['packages'])} packages, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        self_test()
    else:
        sys.exit(main())
