"""Reads template.yaml and its nested stacks, transforms them as CloudFormation would, and flattens
them into one set of resources whose references are resolved across the stacks.

A resolved value is text wherever CloudFormation would make text of it:

    Ref of a resource               <Queues/LogWakes>
    Fn::GetAtt                      <Queues/LogWakes.Arn>
    Ref of a parameter of the root  <param FetchConcurrency>
    a pseudo parameter              <AWS::Region>
    Fn::If                          {"If": [condition, then, else]}, but for the choice of the table

so that two places name the same thing where their texts are equal.
"""

import copy
import logging
import re
from pathlib import Path

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT_TEMPLATE = "template.yaml"
NO_VALUE = "<AWS::NoValue>"
MAKES_TABLE = "MakesTable"
# The translator counts what it does, and complains that nobody asks for the counts.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
# And that it lacks a switch that only its own service has.
logging.getLogger("samtranslator.feature_toggle.feature_toggle").setLevel(logging.ERROR)
STACK_TYPES = ("AWS::Serverless::Application", "AWS::CloudFormation::Stack")


class Broken(Exception):
    """The stacks do not fit together: a reference leads nowhere."""


def load_sources(root: Path) -> dict[str, dict]:
    """The parsed root template and the local nested templates, by path relative to `root`."""
    sources = {ROOT_TEMPLATE: yaml_parse((root / ROOT_TEMPLATE).read_text())}
    for resource in sources[ROOT_TEMPLATE]["Resources"].values():
        if resource["Type"] in STACK_TYPES:
            path = resource["Properties"]["Location"]
            sources[path] = yaml_parse((root / path).read_text())
    return sources


class NoManagedPolicies:
    """Stands in for IAM, so that the transformation needs no account: no function of ours names a
    managed policy of AWS."""

    def load(self):
        return {}


def transform(template: dict, parameters: dict | None = None) -> dict:
    """The root template as the transformation AWS::Serverless leaves it. Needs AWS_DEFAULT_REGION."""
    template = copy.deepcopy(template)
    # `sam package` replaces local paths by places in S3; the transformation accepts nothing else.
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Application":
            properties["Location"] = f"https://s3.amazonaws.com/packaged/{name}.template"
        elif resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = f"s3://packaged/{name}.zip"
    template["Globals"].get("Function", {}).pop("CodeUri", None)
    return Translator(NoManagedPolicies().load(), Parser()).translate(template, parameters or {})


class System:
    """All resources of all stacks, flat. `resources` maps `Queues/LogWakes` to a resource with
    resolved properties; the resources of the root have no prefix."""

    def __init__(self, sources: dict[str, dict], root: Path, restored: bool = False):
        self.root = root
        self.sources = sources
        # Whether the stack uses a restored table instead of its own.
        self.restored = restored
        self.transformed = transform(sources[ROOT_TEMPLATE])
        self.parameters = self.transformed.get("Parameters", {})
        self.resources: dict[str, dict] = {}
        self._children: dict[str, tuple[dict, dict]] = {}
        source_resources = sources[ROOT_TEMPLATE]["Resources"]
        for name, resource in source_resources.items():
            if resource["Type"] in STACK_TYPES:
                properties = resource["Properties"]
                child = sources[properties["Location"]]
                self._children[name] = (child, properties.get("Parameters", {}))
        for name, resource in self.transformed["Resources"].items():
            self.resources[name] = self._resolve_resource(resource, None)
        for stack, (child, arguments) in self._children.items():
            self._check_arguments(stack, child, arguments)
            for name, resource in child["Resources"].items():
                self.resources[f"{stack}/{name}"] = self._resolve_resource(resource, stack)

    def of_type(self, kind: str) -> dict[str, dict]:
        """The resources of one CloudFormation type, by name."""
        return {n: r for n, r in self.resources.items() if r["Type"] == kind}

    def properties(self, name: str) -> dict:
        """A resource's resolved properties."""
        return self.resources[name].get("Properties", {})

    def number(self, value) -> float | None:
        """A number, or a root parameter's default. `None` where it is neither."""
        if isinstance(value, str) and (found := re.fullmatch(r"<param (\w+)>", value)):
            value = self.parameters[found[1]].get("Default")
        try:
            return float(value)
        except (TypeError, ValueError):
            return None

    def _check_arguments(self, stack: str, child: dict, arguments: dict) -> None:
        declared = child.get("Parameters", {})
        for name in arguments:
            if name not in declared:
                raise Broken(f"{stack} is given {name}, which it does not declare")
        for name, parameter in declared.items():
            if name not in arguments and "Default" not in parameter:
                raise Broken(f"{stack} is not given {name}, which has no default")

    def _resolve_resource(self, resource: dict, stack: str | None) -> dict:
        resolved = {k: v for k, v in resource.items() if k != "Properties"}
        resolved["Properties"] = self._resolve(resource.get("Properties", {}), stack)
        return resolved

    def _resolve(self, value, stack: str | None):
        if isinstance(value, list):
            items = [self._resolve(v, stack) for v in value]
            return [v for v in items if v != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            key, argument = next(iter(value.items()))
            if key == "Ref":
                return self._ref(argument, stack)
            if key == "Fn::GetAtt":
                parts = argument.split(".", 1) if isinstance(argument, str) else argument
                return self._attribute(parts[0], ".".join(map(str, parts[1:])), stack)
            if key == "Fn::Sub":
                return self._sub(argument, stack)
            if key == "Fn::Join":
                return argument[0].join(str(v) for v in self._resolve(argument[1], stack))
            if key == "Fn::If" and argument[0] == MAKES_TABLE:
                return self._resolve(argument[2 if self.restored else 1], stack)
            if key == "Fn::If":
                return {"If": [argument[0], *(self._resolve(v, stack) for v in argument[1:])]}
        resolved = {k: self._resolve(v, stack) for k, v in value.items()}
        return {k: v for k, v in resolved.items() if v != NO_VALUE}

    def _ref(self, name: str, stack: str | None):
        if name.startswith("AWS::"):
            return f"<{name}>"
        if stack is None:
            if name in self.parameters:
                return f"<param {name}>"
            if name not in self.transformed["Resources"]:
                raise Broken(f"Ref {name} leads nowhere")
            return f"<{name}>"
        child, arguments = self._children[stack]
        if name in child.get("Parameters", {}):
            if name in arguments:
                return self._resolve(arguments[name], None)
            return child["Parameters"][name]["Default"]
        if name not in child["Resources"]:
            raise Broken(f"Ref {name} in {stack} leads nowhere")
        return f"<{stack}/{name}>"

    def _attribute(self, name: str, attribute: str, stack: str | None):
        if stack is None and name in self._children:
            child = self._children[name][0]
            output = attribute.removeprefix("Outputs.")
            if output not in child.get("Outputs", {}):
                raise Broken(f"{name} has no output {output}")
            return self._resolve(child["Outputs"][output]["Value"], name)
        return f"{self._ref(name, stack)[:-1]}.{attribute}>"

    def _sub(self, argument, stack: str | None) -> str:
        text, names = (argument, {}) if isinstance(argument, str) else argument

        def one(found: re.Match) -> str:
            name = found[1]
            if name in names:
                return str(self._resolve(names[name], stack))
            if "." in name:
                return str(self._attribute(*name.split(".", 1), stack))
            return str(self._ref(name, stack))

        return re.sub(r"\$\{([^!}][^}]*)\}", one, text)
