"""What docs/how-to/nightly.md hands out works as it stands."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from journeybatch.cli.running import run
from journeybatch.loading import load_job

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "nightly.md"
FILES = PAGE.parent / "nightly"
TEXT = PAGE.read_text("utf-8")
PROGRAM = Path(sys.executable).parent / "journeybatch"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_job_on_the_page_is_a_job(tmp_path):
    (tmp_path / "job.yaml").write_text(blocks("yaml")[0])
    job = load_job(tmp_path / "job.yaml")
    assert job.limits.deadline == "05:00"
    assert job.sinks[0].key == ("id",)


def test_the_units_are_what_systemd_expects(tmp_path):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        assert not os.environ.get("CI"), "CI needs systemd-analyze: apt-get install systemd"
        pytest.skip("systemd-analyze is not installed here")
    for unit in FILES.glob("reviews.*"):
        text = unit.read_text("utf-8").replace("/srv/reviews/.venv/bin/journeybatch", str(PROGRAM))
        (tmp_path / unit.name).write_text(text)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    found = subprocess.run([verify, "verify", *paths], capture_output=True, text=True, check=False)
    assert (found.returncode, [line for line in found.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def command_lines() -> list[list[str]]:
    """The arguments of every `journeybatch run` on the page and in its files."""
    service = (FILES / "reviews.service").read_text("utf-8")
    container = yaml.safe_load((FILES / "cronjob.yaml").read_text("utf-8"))["spec"]["jobTemplate"]["spec"]["template"]
    docker = (FILES / "Dockerfile").read_text("utf-8")
    texts = [
        line.split(" run ")[1].split(">>")[0] for line in (TEXT + service).splitlines() if "journeybatch run " in line
    ]
    return [
        *(re.split(r'["`]', text)[0].split() for text in texts),
        container["spec"]["containers"][0]["args"][1:],
        ast.literal_eval(re.search(r"CMD (\[.*\])", docker)[1])[1:],
    ]


@pytest.mark.parametrize("arguments", command_lines(), ids=" ".join)
def test_every_command_line_is_understood(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(run, [*arguments, "--help"])
    assert said.exit_code == 0, said.output


def test_the_pod_runs_as_the_image_does_and_keeps_its_journal():
    pod = yaml.safe_load((FILES / "cronjob.yaml").read_text("utf-8"))["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    docker = (FILES / "Dockerfile").read_text("utf-8")
    assert f"USER {pod['securityContext']['runAsUser']}\n" in docker
    container = pod["containers"][0]
    output = container["args"][container["args"].index("--output") + 1]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(output.startswith(f"{mount}/") for mount in mounts)
    assert pod["terminationGracePeriodSeconds"] > 10


@pytest.mark.parametrize("code", blocks("python"), ids=["airflow", "dagster"])
def test_the_snippets_are_python(code):
    ast.parse(code)
