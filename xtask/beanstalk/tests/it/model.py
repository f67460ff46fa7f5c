"""Answers held against a model of the service, as botocore has it.

botocore's parser passes over what it does not know, and takes what is of another type for text. So the
XML of each answer is walked with the model before the parser sees it, and what the parser made of it is
walked afterwards. Two models count: the public one, and the older one that the EB CLI brings.
"""

import datetime
import logging
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree

import botocore.session
import ebcli
from botocore.config import Config

EB_DATA = os.path.join(os.path.dirname(ebcli.__file__), "lib", "botocoredata")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Upper case, because `eb` compares it so; the models have `Processed`.
OTHER_CASE = {"ApplicationVersionStatus"}
# The models have a colour there; the service, and its documentation, say `Ready` or `Updating`.
OTHER_VALUES = {"DescribeEnvironmentHealth.Status": ("Ready", "Updating")}
# botocore itself makes something else of its text.
DECODED = {"policyDocumentType", "BucketLocationConstraint"}

problems = []
called = set()
# What the parser makes of a time; the AWS CLI leaves it a text.
moments = [datetime.datetime]


class Collector(logging.Handler):
    """What botocore warns of is a problem."""

    def emit(self, record):
        problems.append("log: " + record.getMessage())


logging.getLogger().addHandler(Collector(level=logging.WARNING))
warnings.simplefilter("error")
# The AWS CLI leaves the files that it sends to the collector.
warnings.simplefilter("ignore", ResourceWarning)


def session(data=None):
    made = botocore.session.get_session()
    if data:
        made.get_component("data_loader").search_paths.insert(0, data)
    return made


def service(made, name):
    return made.get_service_model(name)


EB_MODEL = service(session(EB_DATA), "elasticbeanstalk")


PUBLIC_MODEL = service(session(), "elasticbeanstalk")


def one_model_knows(shape, member):
    """Each has members that the other does not know, and passes over."""
    models = [model for model in (PUBLIC_MODEL, EB_MODEL) if shape.name in model.shape_names]
    return any(member in model.shape_for(shape.name).members for model in models)


def local(element):
    return element.tag.rsplit("}", 1)[-1]


class Check:
    """One answer of one operation."""

    def __init__(self, operation):
        self.operation = operation

    def problem(self, path, text):
        problems.append(f"{self.operation.service_model.service_name} {path}: {text}")

    def body(self, content):
        """The XML of an answer, from its root."""
        shape = self.operation.output_shape
        protocol = self.operation.service_model.metadata["protocol"]
        name = self.operation.name
        if not content:
            if protocol != "rest-xml":
                self.problem(name, "no content")
            return
        if shape is not None and protocol == "rest-xml" and "payload" in shape.serialization:
            return
        root = ElementTree.fromstring(content)
        if protocol == "rest-xml":
            if shape is None:
                self.problem(name, "content that the model does not have")
            else:
                self.structure(shape, root, name)
            return
        if local(root) != name + "Response":
            self.problem(name, f"the root is {local(root)}")
        if protocol == "ec2":
            rest = [child for child in root if local(child) != "requestId"]
            self.children(shape, rest, name)
            return
        self.wrapped(shape, root, name)

    def wrapped(self, shape, root, name):
        """The query protocol: a result and the number of the request."""
        wrapper = shape and shape.serialization.get("resultWrapper")
        wanted = ([wrapper] if wrapper else []) + ["ResponseMetadata"]
        found = [local(child) for child in root]
        if found != wanted:
            self.problem(name, f"{found} and not {wanted}")
        if wrapper and wrapper in found:
            self.structure(shape, root[found.index(wrapper)], name)
        if not re.search(r"^[0-9a-f-]{36}$", root[-1][0].text or ""):
            self.problem(name, "the RequestId is no UUID")

    def walk(self, shape, element, path):
        kind = shape.type_name
        if kind in ("structure", "list", "map"):
            getattr(self, kind)(shape, element, path)
        else:
            self.scalar(shape, element, path)

    def structure(self, shape, element, path):
        if (element.text or "").strip():
            self.problem(path, f"text in a structure: {element.text!r}")
        self.children(shape, list(element), path)

    def children(self, shape, elements, path):
        known = {}
        for name, member in shape.members.items() if shape is not None else ():
            if member.serialization.get("location") in ("header", "headers", "statusCode"):
                continue
            tag = member.serialization.get("name", name)
            if self.flat(member):
                tag = member.serialization.get("name") or member.member.serialization.get("name")
                tag = tag or name
            known[tag] = member
        seen = set()
        for element in elements:
            tag = local(element)
            member = known.get(tag)
            if member is None:
                if shape is None or not one_model_knows(shape, tag):
                    self.problem(f"{path}.{tag}", "not in the model")
                continue
            if tag in seen and not self.flat(member):
                self.problem(f"{path}.{tag}", "there twice")
            seen.add(tag)
            if self.flat(member):
                self.walk(member.member, element, f"{path}.{tag}")
            else:
                self.walk(member, element, f"{path}.{tag}")
        for name in shape.required_members if shape is not None else ():
            tag = shape.members[name].serialization.get("name", name)
            if tag in known and tag not in seen:
                self.problem(f"{path}.{tag}", "required and not there")

    def flat(self, shape):
        return shape.type_name == "list" and shape.serialization.get("flattened", False)

    def list(self, shape, element, path):
        tag = shape.member.serialization.get("name", "member")
        for number, child in enumerate(element):
            if local(child) != tag:
                self.problem(path, f"{local(child)} in a list of {tag}")
            self.walk(shape.member, child, f"{path}[{number}]")

    def scalar(self, shape, element, path):
        text = element.text or ""
        if text in OTHER_VALUES.get(path, ()):
            return
        if len(element):
            self.problem(path, f"elements in a {shape.type_name}")
        wrong = {
            "boolean": lambda: text not in ("true", "false"),
            "integer": lambda: not re.fullmatch(r"-?\d+", text),
            "long": lambda: not re.fullmatch(r"-?\d+", text),
            "double": lambda: not re.fullmatch(r"-?\d+(\.\d+)?", text),
            "timestamp": lambda: not MOMENT.fullmatch(text),
            "string": lambda: self.not_in_range(shape, text),
        }[shape.type_name]()
        if wrong:
            self.problem(path, f"{text!r} is no {shape.name} ({shape.type_name})")

    def not_in_range(self, shape, text):
        values = getattr(shape, "enum", None)
        if values and shape.name in OTHER_CASE:
            return text.lower() not in [value.lower() for value in values]
        if values and text not in values:
            return True
        pattern = shape.metadata.get("pattern")
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
        if not least <= len(text) <= (most or len(text)):
            return True
        return bool(pattern) and not re.search(pattern, text)

    def parsed(self, shape, value, path):
        """What the parser made of it."""
        types = {
            "structure": dict,
            "list": list,
            "map": dict,
            "string": str,
            "boolean": bool,
            "integer": int,
            "long": int,
            "double": float,
            "float": float,
            "timestamp": tuple(moments),
        }
        if shape.type_name not in types or shape.name in DECODED:
            return
        if not isinstance(value, types[shape.type_name]):
            self.problem(path, f"{value!r} is no {shape.type_name}")
        elif shape.type_name == "structure":
            for name, inner in value.items():
                if name in shape.members:
                    self.parsed(shape.members[name], inner, f"{path}.{name}")
                elif name != "ResponseMetadata":
                    self.problem(f"{path}.{name}", "parsed and not in the model")
        elif shape.type_name == "list":
            for inner in value:
                self.parsed(shape.member, inner, path + "[]")


def before_parse(operation_model, response_dict, **_):
    """Called by botocore with each answer that it is about to parse."""
    if "date" not in {name.lower() for name in response_dict["headers"]}:
        problems.append(f"{operation_model.name}: no Date header")
    if response_dict["status_code"] < 300:
        called.add((operation_model.service_model.service_name, operation_model.name))
        content = response_dict["body"]
        Check(operation_model).body(content if isinstance(content, bytes) else b"")


def after_call(model, parsed, http_response, **_):
    """Called by botocore with what it parsed."""
    if http_response.status_code >= 300:
        called.add((model.service_model.service_name, model.name))
        if not parsed.get("Error", {}).get("Code"):
            problems.append(f"{model.name}: an error without a code: {parsed}")
    elif model.output_shape is not None:
        Check(model).parsed(model.output_shape, parsed, model.name)
    if not parsed["ResponseMetadata"].get("RequestId"):
        problems.append(f"{model.name}: no RequestId")


def watch(made):
    """Holds every answer that the clients of a session get against the model."""
    made.register("before-parse", before_parse)
    made.register("after-call", after_call)
    return made


def clients(data, *names):
    """Clients with the public model, or with one that stands below a directory."""
    made = watch(session(data))
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return [made.create_client(name, config=config) for name in names]
