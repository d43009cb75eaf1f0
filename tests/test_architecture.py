"""The reading order is the import order, and every library has one owner."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "journeybatch"

READING_ORDER = [
    "errors",
    "verdict",
    "records",
    "catalog",
    "repair",
    "validity",
    "fields",
    "answers",
    "items",
    "escalation",
    "yamlfile",
    "shapes",
    "addresses",
    "deadline",
    "concurrency",
    "promptfile",
    "sections",
    "outlets",
    "economy",
    "variants",
    "spec",
    "wording",
    "conflicts",
    "loading",
    "config",
    "disk",
    "replacement",
    "pricebook",
    "textfile",
    "delimited",
    "jsonlines",
    "location",
    "table",
    "database",
    "iceberg",
    "intake",
    "cells",
    "dialect",
    "filling",
    "template",
    "parquet",
    "stamp",
    "export",
    "wish",
    "excerpt",
    "wire",
    "payload",
    "identity",
    "asking",
    "rendering",
    "seal",
    "loops",
    "turnstile",
    "lane",
    "proxy",
    "transport",
    "account",
    "client",
    "endpoint",
    "parcels",
    "outpost",
    "courier",
    "fleet",
    "distributed",
    "reconciliation",
    "connection",
    "measuring",
    "frames",
    "entries",
    "scratch",
    "scroll",
    "page",
    "vocabulary",
    "attempts",
    "places",
    "history",
    "bookmark",
    "archive",
    "reading",
    "daybook",
    "ledger",
    "commit",
    "lock",
    "journal",
    "marker",
    "compaction",
    "reuse",
    "news",
    "transcript",
    "accounted",
    "setback",
    "pace",
    "window",
    "gauge",
    "pause",
    "breaker",
    "canary",
    "turns",
    "limiter",
    "retry",
    "lanes",
    "register",
    "labels",
    "survey",
    "packing",
    "tally",
    "shares",
    "agreement",
    "guarantee",
    "pilot",
    "decision",
    "states",
    "standing",
    "costs",
    "planning",
    "hindsight",
    "results",
    "statement",
    "delivery",
    "precedence",
    "ways",
    "job",
    "calibration",
    "foresight",
    "views",
    "directory",
    "progress",
    "summary",
    "audit",
    "tuning",
    "telemetry",
    "preparation",
    "ending",
    "farewell",
    "dispatch",
    "rounds",
    "sender",
    "notices",
    "outcome",
    "conclusion",
    "runner",
    "api",
]

EVALUATION = [
    "estimates",
    "numerics",
    "clusters",
    "intervals",
    "permutation",
    "power",
    "repeats",
    "comparison",
    "sentences",
    "classification",
    "regression",
    "thrift",
    "statistics",
    "score",
    "text",
    "sets",
    "numbers",
    "choices",
    "structured",
    "usercode",
    "judge",
    "scorers",
    "scoring",
    "outcome",
    "grading",
    "assessment",
    "gate",
    "changes",
    "prospect",
    "telling",
    "story",
]

OWNERS = {
    "httptools": {"lane"},
    "minijinja": {"cells", "dialect", "template", "report/page"},
    "msgspec": None,  # frozen values: common tongue, like anyio and polars
    "anyio": None,
    "polars": None,
    "httpx": {
        "lane",
        "proxy",
        "transport",
        "client",
        "preparation",
        "connection",
        "notices",
        "outpost",
        "sender",
        "emulator/transport",
        "cli/asking",
    },
    "pydantic_core": {"shapes"},
    "pydantic": {
        "shapes",
        "addresses",
        "deadline",
        "concurrency",
        "sections",
        "outlets",
        "economy",
        "variants",
        "spec",
    },
    "yaml": {"yamlfile", "emulator/faults_file"},
    "tenacity": {"retry"},
    "tqdm": {"progress"},
    "click": {"cli"},
    "rich": {"cli/screen"},
    "starlette": {"emulator/server"},
    "uvicorn": {"emulator/server"},
    "uvloop": {"emulator/server"},
    "xlsxwriter": {"export"},
    "fastexcel": {"intake"},
    "deltalake": {"intake", "sinks/lake"},
    "adbc_driver_postgresql": {"database"},
    "duckdb": {"database"},
    "pyiceberg": {"iceberg"},
    "opentelemetry": {"telemetry"},
    "pyarrow": {"database", "sinks/tables"},
    "jsonschema_rs": {"validity", "emulator/question"},
    "rapidfuzz": {"agreement", "evaluation/text"},
    "numpy": {"evaluation/numerics"},
    "scipy": {"evaluation/numerics"},
    "vl_convert": {"report/charts"},
    "ray": {"distributed"},
}


def modules() -> dict[str, Path]:
    return {
        str(path.relative_to(PACKAGE).with_suffix("")): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ("__main__.py",)
    }


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, wherever in its text, but for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_place_in_the_reading_order():
    core = {name for name in modules() if "/" not in name and name != "__init__"}
    assert core == set(READING_ORDER)


def test_the_design_page_says_what_each_module_is():
    page = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    assert [name for name in [*READING_ORDER, *EVALUATION] if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", READING_ORDER)
def test_a_module_imports_only_what_stands_above_it(name):
    above = set(READING_ORDER[: READING_ORDER.index(name)])
    ours = {part.split(".")[1] for part in imports(PACKAGE / f"{name}.py") if part.startswith("journeybatch.")}
    allowed = above | {"__version__"}
    if name in ("connection", "api"):  # the child that serves it; the command line's own reading of the environment
        allowed |= {"emulator"}
    if name == "api":
        allowed |= {"cli", "evaluation"}
    if name == "distributed":  # a worker reads its machine's environment, as the command line does
        allowed |= {"cli"}
    if name == "delivery":  # the room whose door it is
        allowed |= {"sinks"}
    assert ours <= allowed


def test_the_emulator_knows_nothing_of_ours_but_the_catalogue():
    for name, path in modules().items():
        if name.startswith("emulator/"):
            ours = {part.split(".")[1] for part in imports(path) if part.startswith("journeybatch.")}
            assert ours <= {"catalog", "emulator"}, name


def test_the_rooms_of_evaluation_have_an_order_of_their_own_and_know_only_the_core_besides():
    rooms = {name: path for name, path in modules().items() if name.startswith("evaluation/")}
    assert set(rooms) == {f"evaluation/{room}" for room in ["__init__", *EVALUATION]}
    for name, path in rooms.items():
        ours = {part for part in imports(path) if part.startswith("journeybatch.")}
        assert {part.split(".")[1] for part in ours} <= {*READING_ORDER, "evaluation", "__version__"}, name
        room = name.split("/")[1]
        above = EVALUATION[: EVALUATION.index(room)] if room in EVALUATION else []
        assert {part.split(".")[2] for part in ours if part.startswith("journeybatch.evaluation.")} <= set(above), name


def test_the_rooms_of_sinks_know_what_stands_above_delivery():
    above = {*READING_ORDER[: READING_ORDER.index("delivery")], "sinks"}
    for name, path in modules().items():
        if name.startswith("sinks/"):
            assert {part.split(".")[1] for part in imports(path) if part.startswith("journeybatch.")} <= above, name


def test_a_library_is_imported_by_its_owner_only():
    stdlib = set(sys.stdlib_module_names) | {"journeybatch", "__future__"}
    for name, path in modules().items():
        for library in {part.split(".")[0] for part in imports(path)} - stdlib:
            owners = OWNERS[library]
            assert owners is None or name in owners or name.split("/")[0] in owners, f"{name} imports {library}"


def test_environment_variables_are_read_in_cli_only():
    for name, path in modules().items():
        if not name.startswith("cli/"):
            text = path.read_text(encoding="utf-8")
            assert "os.environ" not in text and "getenv" not in text, name


def test_no_module_is_longer_than_300_lines():
    proofs = {path.name: path for path in (Path(__file__).parent / "proofs").glob("*.py")}
    assert "heart.py" in proofs
    for name, path in [*modules().items(), *proofs.items()]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, name


def test_names_we_do_not_use_for_classes():
    banned = ("Manager", "Processor", "Handler", "Tracker", "Strategy", "Helper", "Base", "Util", "Context")
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith(banned), f"{name}.{node.name}"
