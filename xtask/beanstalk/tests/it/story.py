"""Every action of the server, by a real client: `story.py boto3|cli|aws IMPLEMENTED-AS-JSON`.

`boto3` calls with the public model, `cli` with the model that the EB CLI brings, `aws` through the AWS
CLI. Each answer is held against the model (see model.py). Prints what is wrong, and what was called.
"""

import base64
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile

import model
from botocore import xform_name
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
BRANCH = "Docker running on 64bit Amazon Linux 2023"
SAMPLE = "Sample Application"
PROPERTIES = "aws:elasticbeanstalk:application:environment"


class Boto:
    """Calls through botocore's clients."""

    def __init__(self, data):
        names = ["elasticbeanstalk", "s3", "iam", "ec2", "sts"]
        self.clients = dict(zip(names, model.clients(data, *names)))

    def knows(self, service, action):
        return action in self.clients[service].meta.service_model.operation_names

    def call(self, service, action, **parameters):
        client = self.clients[service]
        answer = getattr(client, xform_name(action))(**parameters)
        if action == "GetObject":
            answer["Body"] = answer["Body"].read()
        return answer

    def refused(self, code, service, action, **parameters):
        try:
            self.call(service, action, **parameters)
        except ClientError as error:
            return wanted(error.response["Error"]["Code"], code, action)
        return model.problems.append(f"{action}: not refused with {code}")

    def upload(self, path, bucket, key):
        import boto3

        boto3.client("s3").upload_file(path, bucket, key)


class Aws:
    """Calls through the AWS CLI: its program, without starting Python for each call."""

    def __init__(self):
        from awscli.clidriver import create_clidriver

        model.moments.append(str)
        # One for all calls, as the tool itself has it: making one takes longer than its answers.
        self.driver = create_clidriver()
        model.watch(self.driver.session)

    def knows(self, service, action):
        return True

    def run(self, arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = self.driver.main(arguments)
            except SystemExit as end:
                code = end.code
        return code, out.getvalue(), err.getvalue()

    def arguments(self, service, action, parameters, directory):
        more = []
        if action == "GetObject":
            more.append(os.path.join(directory, "out"))
        body = parameters.pop("Body", None)
        if body is not None:
            path = os.path.join(directory, "body")
            with open(path, "wb") as file:
                file.write(body)
            more += ["--body", path]
        for name, value in list(parameters.items()):
            if isinstance(value, bytes):
                parameters[name] = value.decode()
            elif service == "s3" and isinstance(value, (str, int)):
                # As one types them; and these are asked for, whatever the JSON has.
                more += ["--" + xform_name(name, "-"), str(parameters.pop(name))]
        service = "s3api" if service == "s3" else service
        command = [service, xform_name(action, "-"), "--output", "json"]
        rest = ["--cli-input-json", json.dumps(parameters)] if parameters else []
        return command + rest + more

    def call(self, service, action, **parameters):
        with tempfile.TemporaryDirectory() as directory:
            arguments = self.arguments(service, action, parameters, directory)
            code, out, err = self.run(arguments)
            if code != 0 or err:
                raise RuntimeError(f"aws {arguments} ended with {code}: {err}")
            answer = json.loads(out) if out.strip() else {}
            if action == "GetObject":
                with open(os.path.join(directory, "out"), "rb") as file:
                    answer["Body"] = file.read()
            return answer

    def refused(self, code, service, action, **parameters):
        with tempfile.TemporaryDirectory() as directory:
            arguments = self.arguments(service, action, parameters, directory)
            status, _, err = self.run(arguments)
        if status == 0 or f"({code})" not in err:
            model.problems.append(f"{action}: {status} and {err!r} in place of {code}")

    def upload(self, path, bucket, key):
        code, out, err = self.run(["s3", "cp", path, f"s3://{bucket}/{key}", "--no-progress"])
        if code != 0 or err:
            model.problems.append(f"aws s3 cp: {code} {out} {err}")


def wanted(found, expected, what):
    if found != expected:
        model.problems.append(f"{what}: {found!r} and not {expected!r}")


def drill(**form):
    data = urllib.parse.urlencode(form).encode()
    urllib.request.urlopen(f"{ENDPOINT}/local/drill", data, timeout=30).read()


def until(question, what):
    for _ in range(600):
        answer = question()
        if answer:
            return answer
        time.sleep(0.1)
    raise RuntimeError(f"waited too long for {what}")


def beanstalk(client, name):
    """The life of an application."""

    def eb(action, **parameters):
        return client.call("elasticbeanstalk", action, **parameters)

    def refused(code, action, **parameters):
        client.refused(code, "elasticbeanstalk", action, **parameters)

    app = {"ApplicationName": name}
    environment = dict(app, EnvironmentName=f"{name}-blue")
    blue, green = {"EnvironmentName": f"{name}-blue"}, {"EnvironmentName": f"{name}-green"}

    def is_now(status, which=None):
        names, deleted = [which or f"{name}-blue"], {"IncludeDeleted": status == "Terminated"}
        question = lambda: [
            it
            for it in eb("DescribeEnvironments", EnvironmentNames=names, **deleted)["Environments"]
            if it["Status"] == status
        ]
        return until(question, status)[0]

    stacks = eb("ListAvailableSolutionStacks")["SolutionStacks"]
    branch = {"Attribute": "BranchName", "Operator": "=", "Values": [BRANCH]}
    wanted(len(eb("ListPlatformBranches", Filters=[branch])["PlatformBranchSummaryList"]), 1, "branches")
    branch = {"Type": "PlatformBranchName", "Operator": "=", "Values": [BRANCH]}
    platform = eb("ListPlatformVersions", Filters=[branch])["PlatformSummaryList"][0]["PlatformArn"]
    eb("DescribePlatformVersion", PlatformArn=platform)
    if client.knows("elasticbeanstalk", "DescribeAccountAttributes"):
        eb("DescribeAccountAttributes")
    bucket = eb("CreateStorageLocation")["S3Bucket"]
    wanted(eb("CheckDNSAvailability", CNAMEPrefix=f"{name}-blue")["Available"], True, "the name is free")

    odd = 'says "a" & <b>, \u00e4\u20ac\U0001f600'
    eb("CreateApplication", Description=odd, **app)
    wanted(eb("DescribeApplications", ApplicationNames=[name])["Applications"][0]["Description"], odd, "text")
    eb("UpdateApplication", Description="another", **app)
    rules = {
        "MaxCountRule": {"Enabled": True, "MaxCount": 5, "DeleteSourceFromS3": True},
        "MaxAgeRule": {"Enabled": False, "MaxAgeInDays": 9, "DeleteSourceFromS3": False},
    }
    lifecycle = {"ServiceRole": "arn:aws:iam::000000000000:role/r", "VersionLifecycleConfig": rules}
    eb("UpdateApplicationResourceLifecycle", ResourceLifecycleConfig=lifecycle, **app)
    refused("InvalidParameterValue", "CreateApplication", **app)

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("Dockerfile", "FROM scratch\n")
    key = f"{name}/one.zip"
    client.call("s3", "PutObject", Bucket=bucket, Key=key, Body=content.getvalue())
    source = {"S3Bucket": bucket, "S3Key": key}
    eb("CreateApplicationVersion", VersionLabel="one", SourceBundle=source, Process=True, **app)
    eb("CreateApplicationVersion", VersionLabel=SAMPLE, Description="sample", **app)
    refused("InvalidParameterValue", "CreateApplicationVersion", VersionLabel=SAMPLE, **app)
    eb("UpdateApplicationVersion", VersionLabel="one", Description="the first", **app)
    labels = {it["VersionLabel"] for it in eb("DescribeApplicationVersions", **app)["ApplicationVersions"]}
    wanted(labels, {"one", SAMPLE}, "versions")

    single = {"Namespace": "aws:elasticbeanstalk:environment", "OptionName": "EnvironmentType"}
    options = [dict(single, Value="SingleInstance")]
    made = dict(VersionLabel=SAMPLE, OptionSettings=options)
    tags = [{"Key": "team", "Value": "a"}]
    eb("CreateEnvironment", PlatformArn=platform, Tags=tags, **made, **environment)
    eb("CreateEnvironment", SolutionStackName=stacks[0], **made, **app, **green)
    refused("InvalidParameterValue", "CreateEnvironment", PlatformArn=platform, **made, **environment)
    arn = is_now("Ready")["EnvironmentArn"]
    is_now("Ready", f"{name}-green")

    eb("DescribeEnvironmentResources", **blue)
    eb("DescribeEnvironmentHealth", AttributeNames=["All"], **blue)
    health = eb("DescribeInstancesHealth", AttributeNames=["All"], **blue)["InstanceHealthList"]
    wanted(len(health), 1, "instances")
    eb("DescribeConfigurationSettings", **environment)
    eb("DescribeConfigurationOptions", **environment)
    bad = [{"Namespace": "aws:elasticbeanstalk:command", "OptionName": "Timeout", "Value": "no"}]
    messages = eb("ValidateConfigurationSettings", OptionSettings=bad, **environment)["Messages"]
    wanted(len(messages), 1, "messages")

    template = dict(app, TemplateName="saved")
    number = eb("DescribeEnvironments", EnvironmentNames=[f"{name}-blue"])["Environments"][0]["EnvironmentId"]
    eb("CreateConfigurationTemplate", EnvironmentId=number, **template)
    eb("UpdateConfigurationTemplate", Description="changed", **template)
    eb("DescribeConfigurationSettings", **template)
    eb("DeleteConfigurationTemplate", **template)

    color = [{"Namespace": PROPERTIES, "OptionName": "COLOR", "Value": odd}]
    eb("UpdateEnvironment", OptionSettings=color, **blue)
    is_now("Ready")
    settings = eb("DescribeConfigurationSettings", **environment)["ConfigurationSettings"][0]
    found = [it["Value"] for it in settings["OptionSettings"] if it["OptionName"] == "COLOR"]
    wanted(found, [odd], "property")
    drill(stuck=f"{name}-blue")
    eb("UpdateEnvironment", VersionLabel=SAMPLE, **blue)
    refused("InvalidParameterValue", "UpdateEnvironment", VersionLabel=SAMPLE, **blue)
    eb("AbortEnvironmentUpdate", **blue)
    drill(clear="true")
    is_now("Ready")
    eb("RestartAppServer", **blue)
    is_now("Ready")

    eb("RequestEnvironmentInfo", InfoType="tail", **blue)
    retrieve = lambda: eb("RetrieveEnvironmentInfo", InfoType="tail", **blue)["EnvironmentInfo"]
    log = until(retrieve, "logs")[0]["Message"]
    wanted(urllib.request.urlopen(log, timeout=30).status, 200, "the log's address")

    names = (f"{name}-blue", f"{name}-green")
    both = dict(zip(("SourceEnvironmentName", "DestinationEnvironmentName"), names))
    eb("SwapEnvironmentCNAMEs", **both)
    eb("UpdateTagsForResource", ResourceArn=arn, TagsToAdd=[{"Key": "cost", "Value": "1"}], TagsToRemove=["team"])
    tags = eb("ListTagsForResource", ResourceArn=arn)["ResourceTags"]
    wanted(tags, [{"Key": "cost", "Value": "1"}], "tags")
    refused("ResourceNotFoundException", "ListTagsForResource", ResourceArn=arn + "-not")
    wanted(len(eb("DescribeEvents", **blue)["Events"]) > 10, True, "events")
    refused("InvalidParameterValue", "DescribeEnvironmentResources", EnvironmentName="nobody")

    eb("DeleteEnvironmentConfiguration", **environment)
    eb("TerminateEnvironment", **blue)
    is_now("Terminated")
    eb("RebuildEnvironment", EnvironmentId=number)
    is_now("Ready")
    refused("SourceBundleDeletionFailure", "DeleteApplicationVersion", VersionLabel=SAMPLE, **app)
    eb("DeleteApplicationVersion", VersionLabel="one", DeleteSourceBundle=True, **app)
    client.refused("NoSuchKey", "s3", "GetObject", Bucket=bucket, Key=key)
    eb("DeleteApplication", TerminateEnvByForce=True, **app)
    gone = lambda: not eb("DescribeApplications", ApplicationNames=[name])["Applications"]
    until(gone, "the application to go")


def storage(client):
    """Objects, whole and in parts."""
    s3 = lambda action, **parameters: client.call("s3", action, **parameters)
    bucket = client.call("elasticbeanstalk", "CreateStorageLocation")["S3Bucket"]
    here = {"Bucket": bucket}
    s3("CreateBucket", **here)
    s3("HeadBucket", **here)
    s3("GetBucketLocation", **here)
    wanted([it["Name"] for it in s3("ListBuckets")["Buckets"]], [bucket], "buckets")
    key = "a b/\u00fc&<+%?=.txt"
    content = bytes(range(256)) * 10
    s3("PutObject", Key=key, Body=content, **here)
    wanted(s3("GetObject", Key=key, **here)["Body"], content, "object")
    wanted(s3("HeadObject", Key=key, **here)["ContentLength"], len(content), "its length")
    for action in ("ListObjects", "ListObjectsV2"):
        wanted([it["Key"] for it in s3(action, Prefix="a b/", **here)["Contents"]], [key], action)
        wanted(s3(action, Prefix="nothing", **here).get("Contents", []), [], action)
    parts = {"Key": "parts", "UploadId": s3("CreateMultipartUpload", Key="parts", **here)["UploadId"]}
    tags = []
    for number in (1, 2):
        tag = s3("UploadPart", PartNumber=number, Body=content + b"%d" % number, **parts, **here)["ETag"]
        tags.append({"ETag": tag, "PartNumber": number})
    s3("CompleteMultipartUpload", MultipartUpload={"Parts": tags}, **parts, **here)
    wanted(s3("GetObject", Key="parts", **here)["Body"], content + b"1" + content + b"2", "parts")
    parts["UploadId"] = s3("CreateMultipartUpload", Key="parts", **here)["UploadId"]
    s3("AbortMultipartUpload", **parts, **here)
    client.refused("NoSuchUpload", "s3", "AbortMultipartUpload", **parts, **here)
    with tempfile.NamedTemporaryFile() as file:
        # More than the transfer library sends in one part.
        file.write(os.urandom(20_000_000))
        file.flush()
        client.upload(file.name, bucket, "large")
    wanted(s3("HeadObject", Key="large", **here)["ContentLength"], 20_000_000, "a large object")
    s3("DeleteObject", Key="large", **here)
    doomed = [{"Key": key}, {"Key": "parts"}, {"Key": "never"}]
    wanted(len(s3("DeleteObjects", Delete={"Objects": doomed}, **here)["Deleted"]), 3, "deleted")
    client.refused("404", "s3", "HeadObject", Key="large", **here)
    client.refused("NoSuchBucket", "s3", "ListObjects", Bucket="another")


def others(client):
    """What the EB CLI asks IAM and EC2, and a little more."""
    role, profile = "aws-elasticbeanstalk-ec2-role", {"InstanceProfileName": "aws-elasticbeanstalk-ec2-role"}
    iam = lambda action, **parameters: client.call("iam", action, **parameters)
    taken = lambda action, **parameters: client.refused("EntityAlreadyExists", "iam", action, **parameters)
    taken("CreateInstanceProfile", **profile)
    taken("AddRoleToInstanceProfile", RoleName=role, **profile)
    taken("CreateRole", RoleName=role, AssumeRolePolicyDocument="{}")
    iam("ListRoles")
    iam("GetRole", RoleName=role)
    iam("ListAttachedRolePolicies", RoleName=role)
    iam("ListInstanceProfiles")
    iam("AttachRolePolicy", RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AWSElasticBeanstalkWebTier")
    iam("PutRolePolicy", RoleName=role, PolicyName="p", PolicyDocument="{}")
    ec2 = lambda action, **parameters: client.call("ec2", action, **parameters)
    wanted(ec2("DescribeKeyPairs", KeyNames=["mine"])["KeyPairs"][0]["KeyName"], "mine", "key pairs")
    key = base64.b64encode(b"ssh-rsa AAAA") if isinstance(client, Aws) else b"ssh-rsa AAAA"
    ec2("ImportKeyPair", KeyName="mine", PublicKeyMaterial=key)
    for action in ("DescribeVpcs", "DescribeSecurityGroups", "DescribeInstances"):
        ec2(action)
    wanted(client.call("sts", "GetCallerIdentity")["Account"], "000000000000", "account")


S3 = """ListBuckets CreateBucket HeadBucket GetBucketLocation ListObjects ListObjectsV2 PutObject GetObject
HeadObject DeleteObject DeleteObjects CreateMultipartUpload UploadPart CompleteMultipartUpload
AbortMultipartUpload""".split()


def main(mode, implemented):
    client = Aws() if mode == "aws" else Boto(model.EB_DATA if mode == "cli" else None)
    beanstalk(client, f"shop-{mode}")
    storage(client)
    others(client)
    for service, actions in dict(json.loads(implemented), s3=S3).items():
        for action in actions:
            if (service, action) not in model.called and client.knows(service, action):
                model.problems.append(f"{service} {action} was not called")
    for problem in dict.fromkeys(model.problems):
        print("wrong:", problem)
    print(f"{len(model.called)} actions called, {len(model.problems)} problems")
    return 1 if model.problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
