"""The check of model.py, checked: an answer that is right passes, and none of these that are wrong."""

import sys

import model

GOOD = """<DescribeEnvironmentsResponse xmlns="http://elasticbeanstalk.amazonaws.com/docs/2010-12-01/">
<DescribeEnvironmentsResult><Environments><member><EnvironmentName>blue</EnvironmentName>
<DateCreated>2026-01-01T00:00:00.000Z</DateCreated><Status>Ready</Status>
<AbortableOperationInProgress>false</AbortableOperationInProgress>
<Tier><Name>WebServer</Name></Tier></member></Environments></DescribeEnvironmentsResult>
<ResponseMetadata><RequestId>01234567-0123-0123-0123-0123456789ab</RequestId></ResponseMetadata>
</DescribeEnvironmentsResponse>"""

FAULTS = {
    "an unknown element": ("<Status>", "<State>Ready</State><Status>"),
    "a value that is none of the list": (">Ready<", ">ready<"),
    "a name that is too short": (">blue<", ">b<"),
    "a time without its zone": ("00.000Z", "00.000"),
    "a flag in other letters": (">false<", ">False<"),
    "an element in a text": (">WebServer<", "><b>WebServer</b><"),
    "a text in a structure": ("<Tier>", "<Tier>web"),
    "an element that is there twice": ("<Status>", "<Status>Ready</Status><Status>"),
    "another name in a list": ("member>", "item>"),
    "no number of the request": ("01234567-", ""),
    "another result": ("DescribeEnvironmentsResult>", "DescribeResult>"),
    "another root": ("DescribeEnvironmentsResponse", "DescribeResponse"),
}


def count(xml):
    model.problems.clear()
    operation = model.PUBLIC_MODEL.operation_model("DescribeEnvironments")
    model.Check(operation).body(xml.encode())
    return len(model.problems)


found = count(GOOD)
passed = [what for what, (old, new) in FAULTS.items() if count(GOOD.replace(old, new)) == 0]
print(f"{found} problems in the good answer, not found: {passed}")
sys.exit(1 if found or passed else 0)
