"""What docs/how-to/ray.md hands out: its manifest is what KubeRay expects, and its job and command lines are ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from journeybatch.cli.running import run
from journeybatch.loading import load_job

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-to" / "ray.md").read_text("utf-8")
FILES = ROOT / "docs" / "how-to" / "ray"
MAP, CLAIM, JOB = yaml.safe_load_all((FILES / "rayjob.yaml").read_text("utf-8"))
CLUSTER = JOB["spec"]["rayClusterSpec"]
HEAD, (WORKERS,) = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"]


def closed(required: str, optional: str = "", **shapes: Any) -> dict[str, Any]:
    """A mapping with these keys and no others; ``shapes`` where they matter."""
    names = [*required.split(), *optional.split()]
    properties = {name: shapes.get(name, {}) for name in names}
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


NUMBER, TEXTS = {"type": "integer", "minimum": 0}, {"type": "object", "additionalProperties": {"type": "string"}}
CONTAINER = closed("name image resources", "envFrom volumeMounts env command args")
POD = closed(
    "containers",
    "volumes terminationGracePeriodSeconds serviceAccountName",
    containers={"type": "array", "items": CONTAINER, "minItems": 1},
)
TEMPLATE = closed("spec", "metadata", spec=POD)
GROUP = closed(
    "groupName rayStartParams template minReplicas maxReplicas",
    "replicas numOfHosts",
    **{"rayStartParams": TEXTS, "template": TEMPLATE, "minReplicas": NUMBER, "maxReplicas": NUMBER},
)
RAY_CLUSTER = closed(
    "headGroupSpec workerGroupSpecs rayVersion",
    "enableInTreeAutoscaling autoscalerOptions",
    headGroupSpec=closed("rayStartParams template", "serviceType", rayStartParams=TEXTS, template=TEMPLATE),
    workerGroupSpecs={"type": "array", "items": GROUP},
    rayVersion={"type": "string"},
)
RAY_JOB = closed(
    "entrypoint rayClusterSpec",
    "submissionMode backoffLimit shutdownAfterJobFinishes ttlSecondsAfterFinished activeDeadlineSeconds",
    rayClusterSpec=RAY_CLUSTER,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
    ttlSecondsAfterFinished=NUMBER,
    backoffLimit=NUMBER,
)
"""The fields of ray.io/v1 that one may use here, as KubeRay's own types have them."""


def test_the_manifest_has_no_field_that_kuberay_does_not_know():
    assert (JOB["apiVersion"], JOB["kind"], MAP["kind"], CLAIM["kind"]) == (
        "ray.io/v1",
        "RayJob",
        "ConfigMap",
        "PersistentVolumeClaim",
    )
    jsonschema.validate(JOB["spec"], RAY_JOB)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**JOB["spec"], "entryPoint": "x"}, RAY_JOB)


def test_its_job_is_a_job_for_the_cluster_it_makes(tmp_path):
    (tmp_path / "job.yaml").write_text(MAP["data"]["job.yaml"])
    job = load_job(tmp_path / "job.yaml")
    assert (job.engine.kind, job.engine.address, job.engine.workers) == ("ray", "auto", WORKERS["maxReplicas"])
    worker = WORKERS["template"]["spec"]["containers"][0]
    assert float(worker["resources"]["requests"]["cpu"]) >= job.engine.cpus
    assert HEAD["rayStartParams"]["num-cpus"] == "0", "no worker takes the driver's core"
    claims = [volume for volume in HEAD["template"]["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    assert [claim["persistentVolumeClaim"]["claimName"] for claim in claims] == [CLAIM["metadata"]["name"]]
    mounts = {mount["name"]: mount["mountPath"] for mount in HEAD["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert str(job.output).startswith(mounts[claims[0]["name"]] + "/"), "the journal outlives the pod"
    program, verb, path, *_ = shlex.split(JOB["spec"]["entrypoint"])
    assert (program, verb, path) == ("journeybatch", "run", mounts["job"] + "/job.yaml")


def test_the_key_is_a_secret_of_head_and_workers_and_stands_nowhere():
    for group in (HEAD, WORKERS):
        assert group["template"]["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "journeyapi"}}]
    assert "runtimeEnvYAML" not in JOB["spec"], "Ray writes that into its logs"


def test_image_and_manifest_agree_on_ray():
    docker = (FILES / "Dockerfile").read_text("utf-8")
    assert f"rayproject/ray:{CLUSTER['rayVersion']}-" in docker
    assert f'"ray=={CLUSTER["rayVersion"]}"' in docker


def command_lines() -> list[str]:
    text = PAGE + (ROOT / "jobs" / "on-ray.yaml").read_text() + JOB["spec"]["entrypoint"]
    return re.findall(r"journeybatch run ([^#`\n]+)", text)


@pytest.mark.parametrize("arguments", command_lines())
def test_every_command_line_is_understood(arguments):
    said = CliRunner().invoke(run, [*shlex.split(arguments), "--help"])
    assert said.exit_code == 0, said.output


def test_the_engines_on_the_page_are_engines(tmp_path):
    found = re.findall(r"engine: (\{.*?\}|ray\b)", PAGE)
    assert len(found) >= 3
    for engine in found:
        text = f"input: a.csv\nprompt: x {{{{ a }}}}\nmodel: deepseek-chat\noutput: out\nengine: {engine}\n"
        (tmp_path / "job.yaml").write_text(text)
        assert load_job(tmp_path / "job.yaml").engine.kind == "ray"
