"""Puts infra/aws/template.yaml on a server that speaks AWS's API, as `sam deploy` would: the artifacts into a bucket,
the template through aws-sam-translator, the result into CloudFormation. Prints what came out of it as JSON.

    deploy.py <endpoint> <stack> <artifacts> <config folder> <template> <parameters as JSON>
"""

import ast
import io
import json
import os
import subprocess
import sys
import urllib.parse
import zipfile
from pathlib import Path

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

REGION = "eu-central-1"
BUCKET = "artifacts"


class NoManagedPolicies:
    """The template names none."""

    def load(self):
        return {}


def client(service, endpoint):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="deployer", aws_secret_access_key="deployer"
    )


def packed(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not files:
        raise SystemExit(f"nothing to deploy in {folder}; build the functions first")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            # The stand-in runs none of it, and would hash 400 MB for every deploy.
            archive.writestr(str(path.relative_to(folder)), path.read_bytes()[:1024])
    return buffer.getvalue()


def upload(s3, name, data):
    s3.put_object(Bucket=BUCKET, Key=name, Body=data)
    return {"Bucket": BUCKET, "Key": name}


def package(template, s3, artifacts, config):
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            function = Path(properties["CodeUri"]).name
            properties["CodeUri"] = upload(s3, function, packed(artifacts / function))
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = upload(s3, name, packed(config))


def check_names(template, values, ssm):
    """AWS::SSM::Parameter::Name: CloudFormation looks whether the parameter is there and hands on its name. The
    stand-in would put the parameter's value in its place, so this is done here and the type becomes String."""
    missing = []
    for name, parameter in template["Parameters"].items():
        if parameter["Type"] == "AWS::SSM::Parameter::Name":
            parameter["Type"] = "String"
            if ssm.get_parameters(Names=[values[name]])["InvalidParameters"]:
                missing.append(f"{name}: there is no parameter {values[name]} in the Parameter Store")
    if missing:
        raise SystemExit("\n".join(missing))


def holds(condition, values):
    """Whether a condition of the template holds with these parameters."""
    if "Fn::Not" in condition:
        return not holds(condition["Fn::Not"][0], values)
    one, other = (values[side["Ref"]] if isinstance(side, dict) else side for side in condition["Fn::Equals"])
    return one == other


def take_aliases(translated, values):
    """AWS::Lambda::Alias and what moves it: the stand-in makes neither, so they are taken out, and whom an alias would
    reach is reached without it. Answers the alias of each function that has one, and of which version it is."""
    resources, aliases, moved = translated["Resources"], {}, {}
    for name, one in list(resources.items()):
        if one["Type"] == "AWS::Lambda::Alias":
            function = one["Properties"]["FunctionName"]["Ref"]
            called = resources[function]["Properties"]["FunctionName"]["Fn::Sub"].rsplit("-", 1)[1]
            policy = one["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
            group = resources[policy["DeploymentGroupName"]["Ref"]]["Properties"]
            condition, watched, unwatched = group["AlarmConfiguration"]["Fn::If"]
            watch = watched if holds(translated["Conditions"][condition], values) else unwatched
            aliases[called] = {
                "name": one["Properties"]["Name"],
                "version": one["Properties"]["FunctionVersion"]["Fn::GetAtt"][0],
                "moved_by": group["DeploymentConfigName"]["Fn::Sub"][1]["ConfigName"],
                "alarms": [alarm["Name"]["Fn::Sub"] for alarm in watch.get("Alarms", [])],
            }
            moved[name] = function

    def without(value):
        if isinstance(value, dict):
            reference = value.get("Ref")
            return {"Ref": moved[reference]} if reference in moved else {k: without(v) for k, v in value.items()}
        return [without(one) for one in value] if isinstance(value, list) else value

    kinds = ("AWS::Lambda::Alias", "AWS::Lambda::Version", "AWS::CodeDeploy::")
    kept = {name: one for name, one in resources.items() if not one["Type"].startswith(kinds)}
    translated["Resources"] = without(kept)
    return aliases


def main():
    endpoint, stack, artifacts, config, source, parameters = sys.argv[1:]
    parameters = json.loads(parameters)
    # The translator asks the environment for it.
    os.environ["AWS_DEFAULT_REGION"] = REGION
    released = [str(Path(source).parent / "released"), str(Path(config).resolve())]
    template = yaml_parse(subprocess.run(released, check=True, capture_output=True, text=True).stdout)
    defaults = {name: one.get("Default") for name, one in template["Parameters"].items()}
    values = {**defaults, **parameters, "AWS::Region": REGION, "AWS::Partition": "aws"}
    check_names(template, values, client("ssm", endpoint))
    s3 = client("s3", endpoint)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    package(template, s3, Path(artifacts), Path(config))
    translated = transform(template, values, NoManagedPolicies())
    aliases = take_aliases(translated, values)
    upload(s3, "template.json", json.dumps(translated).encode())
    cloudformation = client("cloudformation", endpoint)
    cloudformation.create_stack(
        StackName=stack,
        TemplateURL=f"https://{BUCKET}.s3.{REGION}.amazonaws.com/template.json",
        Parameters=[{"ParameterKey": k, "ParameterValue": str(v)} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    print(json.dumps({**outcome(endpoint, described), "aliases": aliases}, default=str))


def document(policy):
    # The stand-in answers with Python's own notation.
    held = policy["PolicyDocument"]
    return ast.literal_eval(urllib.parse.unquote(held)) if isinstance(held, str) else held


def tables(dynamodb):
    names = dynamodb.list_tables()["TableNames"]
    return {name: dynamodb.describe_table(TableName=name)["Table"] for name in names}


def outcome(endpoint, stack):
    functions, iam, sqs = client("lambda", endpoint), client("iam", endpoint), client("sqs", endpoint)
    found = {}
    for one in functions.list_functions()["Functions"]:
        role = one["Role"].rsplit("/", 1)[1]
        policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        documents = [document(iam.get_role_policy(RoleName=role, PolicyName=name)) for name in policies]
        found[one["FunctionName"]] = {
            "environment": one["Environment"]["Variables"],
            "timeout": one["Timeout"],
            "memory": one["MemorySize"],
            "statements": [statement for document in documents for statement in document["Statement"]],
            "managed": [policy["PolicyName"] for policy in attached],
        }
    queues = {}
    for url in sqs.list_queues().get("QueueUrls", []):
        queues[url] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    for mapping in mappings:
        # The stand-in would play it by itself, in a container that is not there, and wear the messages out.
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    return {
        "status": stack["StackStatus"],
        "outputs": {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])},
        "functions": found,
        "mappings": mappings,
        "queues": queues,
        "tables": tables(client("dynamodb", endpoint)),
    }


if __name__ == "__main__":
    main()
