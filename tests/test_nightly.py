"""What docs/how-to/nightly.md hands out works as it stands."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

import journeybatch
from journeybatch.cli.running import run
from journeybatch.loading import load_job

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "nightly.md"
FILES = PAGE.parent / "nightly"
TEXT = PAGE.read_text("utf-8")
PROGRAM = Path(sys.executable).parent / "journeybatch"
FOREIGN = PAGE.parent.parent.parent / ".venv-foreign" / "bin"


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


@pytest.mark.parametrize(
    ("linter", "file"),
    [(["hadolint", "--no-color"], "Dockerfile"), (["kubernetes-validate", "--strict"], "cronjob.yaml")],
    ids=["Dockerfile", "cronjob"],
)
def test_the_files_for_containers_pass_their_linter(linter, file):
    program = FOREIGN / linter[0]
    if not program.exists():
        pytest.skip(f"needs {linter[0]}: make foreign")
    found = subprocess.run([program, *linter[1:], FILES / file], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_image_is_of_this_version():
    assert f'"journeybatch[sql]=={journeybatch.__version__}"' in (FILES / "Dockerfile").read_text("utf-8")


def test_a_job_runs_in_an_environment_that_has_nothing(tmp_path):
    """No HOME, no PATH, no locale: as under cron, and less."""
    (tmp_path / "rows.csv").write_text("text\nnaïve\n", "utf-8")
    job = 'name: c\ninput: rows.csv\nprompt: "Say {{ text }} — é"\nmodel: deepseek-chat\napi: emulator\noutput: out\n'
    (tmp_path / "job.yaml").write_text(job, "utf-8")
    command = [PROGRAM, "run", tmp_path / "job.yaml", "--log-format", "json"]
    ended = subprocess.run(command, cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False), ended.stderr
    assert pl.read_parquet(tmp_path / "out" / "results.parquet")["jb_status"].to_list() == ["answered"]
    told = subprocess.run(
        [*command, "--api", "journeyapi", "--output", tmp_path / "o"], env={}, capture_output=True, check=False
    )
    assert told.returncode == 2
    assert b"JOURNEYAPI_KEY" in told.stderr
    assert b"Traceback" not in told.stderr


@pytest.mark.parametrize("code", blocks("python"), ids=["airflow", "dagster"])
def test_the_snippets_are_python(code):
    ast.parse(code)
