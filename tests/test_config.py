"""The user's config: prices, allowed hosts and harmless defaults, or one clear line for each mistake."""

from __future__ import annotations

import pytest

from journeybatch import catalog
from journeybatch.config import Config, read_config
from journeybatch.errors import SpecError
from journeybatch.loading import load_job

JOB = {"input": "/data/a.csv", "prompt": "Say {{ x }}", "model": "gpt-4o"}


def test_no_file_and_an_empty_file_are_an_empty_config(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert read_config(None) == read_config(tmp_path / "nope.yaml") == read_config(tmp_path / "empty.yaml") == Config()


def test_a_config_prices_models_allows_hosts_and_gives_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("""\
credits: {gpt-4o: 3, o3: [2, 4]}
allow_hosts: [LLM.example.com, "::1"]
defaults:
  concurrency: 64
  limits: {credits: 100, failures: 12.5%}
  retry: {attempts: 5}
  api: {key_file: key.txt}
""")
    config = read_config(path)
    assert catalog.price("gpt-4o", {}, config.credits).most == 3
    assert catalog.price("o3", {}, config.credits).least == 2
    assert config.allow_hosts == ("llm.example.com", "::1")
    job = load_job({**JOB, "limits": {"credits": 7}}, defaults=config.defaults)
    assert (job.concurrency.most, job.limits.credits, job.limits.failures.percent, job.retry.attempts) == (
        64,
        7,
        12.5,
        5,
    )
    assert job.retry.timeout_s == 600
    assert job.api.key_file == str(tmp_path / "key.txt")


def test_every_mistake_is_named_with_its_place(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("""\
credit: {gpt-4o: 3}
credits: {gpt-4o: many}
allow_hosts: ["https://llm.example.com/v1"]
defaults:
  concurrency: 0
  limits: {failurs: 1}
""")
    with pytest.raises(SpecError) as error:
        read_config(path)
    assert str(error.value).replace(str(path), "F").splitlines() == [
        "F:1:1: unknown key 'credit' (did you mean 'credits'?)",
        "F:2:19: credits.gpt-4o: expected a whole number of credits, or [at least, at most], found 'many'",
        "F:3:15: allow_hosts.0: expected a host like llm.example.com, without https:// and without a port, "
        "found 'https://llm.example.com/v1'",
        "F:5:16: defaults.concurrency: expected a number from 1 to 10000, found 0",
        "F:6:12: defaults.limits: unknown key 'failurs' (did you mean 'failures'?)",
    ]


@pytest.mark.parametrize(
    "default",
    ["model: o3", "prompt: x", "api: {base_url: 'https://h'}", "api: emulator", "output: x", "api: {kind: emulator}"],
)
def test_no_default_changes_what_is_asked_or_whom(tmp_path, default):
    path = tmp_path / "config.yaml"
    path.write_text(f"defaults:\n  {default}\n")
    with pytest.raises(SpecError, match=f"{path}:2:"):
        read_config(path)


def test_a_config_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("- a\n")
    with pytest.raises(SpecError, match="expected a mapping: credits, allow_hosts, defaults"):
        read_config(path)
