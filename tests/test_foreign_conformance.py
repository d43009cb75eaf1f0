"""The emulator keeps to its OpenAPI page: schemathesis, which nobody here wrote, asks it everything the page allows,
and much that it does not.

It lives in an environment of its own: `make foreign` makes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import KEY, spawned

SCHEMATHESIS = Path(__file__).parent.parent / ".venv-foreign" / "bin" / "schemathesis"
needs_schemathesis = pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="needs schemathesis: make foreign")


@needs_schemathesis
@pytest.mark.parametrize("server", ["asgi", "raw"])
def test_the_emulator_keeps_to_its_openapi_page(server: str, tmp_path: Path) -> None:
    """Status, content type, schema of each reply and each streamed event; 405, 401; valid data taken, other refused."""
    (tmp_path / "faults.yaml").write_text("cut: 0.000000000001" if server == "raw" else "seed: 1")
    bill, told = tmp_path / "bill.jsonl", ("--faults", tmp_path / "faults.yaml", "--key", KEY)
    with spawned("emulate", "--port", 0, *told, "--bill", bill) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["base_url"]
        options = [
            "--url",
            url,
            "--header",
            f"Authorization: {KEY}",
            "--max-examples",
            "80",
            "--seed",
            "1",
            "--no-color",
        ]
        done = subprocess.run(
            [str(SCHEMATHESIS), "run", f"{url}/openapi.json", *options],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "COLUMNS": "200"},
        )
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) generated", done.stdout)
    assert found and int(found[1]) > 100, done.stdout
    statuses = {json.loads(line)["status"] for line in bill.read_text().splitlines()}
    assert {200, 400, 401} <= statuses, "it took what is right and refused what is wrong"
