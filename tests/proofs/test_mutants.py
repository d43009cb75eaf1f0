"""The mutant tester itself: it reports tests that see nothing, and tests that see what is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proofs.equivalents import PAGE, SAME, table
from proofs.mutations import MODULES, mutants

pytestmark = pytest.mark.proof
HERE = Path(__file__).parents[1]
TRY = """
from proofs import mutants
mutants.TESTS = dict.fromkeys(mutants.TESTS, ({tests!r},))
try:
    print(mutants.prove({number}, 2))
except mutants.Broken as broken:
    print(broken)
"""


def tried(tests: Path, number: int) -> tuple[str, str]:
    """What a proof with these tests says, and what it says of each mutant."""
    code = TRY.format(tests=str(tests), number=number)
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_module_whose_tests_are_toothless_is_reported(tmp_path: Path) -> None:
    toothless = tmp_path / "test_nothing.py"
    toothless.write_text("def test_nothing():\n    import journeybatch.journal\n")
    said, told = tried(toothless, 2)
    assert "seed 2: 0 of 2 mutants were noticed: journal 0/1, ledger 0/1" in said
    assert told.count("survived: ") == 2


def test_tests_that_fail_without_any_change_notice_nothing(tmp_path: Path) -> None:
    wolf = tmp_path / "test_wolf.py"
    wolf.write_text("def test_wolf():\n    raise AssertionError\n")
    assert "the tests of journal fail without any change" in tried(wolf, 1)[0]


def test_a_test_that_fails_once_and_not_again_notices_nothing(tmp_path: Path) -> None:
    moody = tmp_path / "test_moody.py"
    moody.write_text(
        "from pathlib import Path\n\nTURN = Path(__file__ + '.turn')\n\n\n"
        "def test_moody():\n    first = not TURN.exists()\n    TURN.touch()\n    assert not first\n"
    )
    assert "0 of 1 mutants were noticed" in tried(moody, 1)[0]


def test_a_change_that_matters_is_noticed(tmp_path: Path) -> None:
    sharp = tmp_path / "test_cap.py"
    sharp.write_text(
        "from journeybatch.ledger import Ledger\nfrom journeybatch.records import Price\n\n"
        "def test_the_last_credit_can_be_spent():\n    assert Ledger(1).fits(Price(1, 1))\n"
    )
    told = [sys.executable, "-m", "proofs.mutants", "ledger", "--only", "<= self.cap →", "--tests", str(sharp)]
    done = subprocess.run(told, cwd=HERE, capture_output=True, text=True, check=True)
    assert done.stdout == "1 tried\n"


def test_every_mutant_that_is_explained_can_still_be_made_and_stands_on_the_page() -> None:
    names = {mutant.name for module in MODULES for mutant in mutants(module)}
    assert [name for name in SAME if name not in names] == []
    assert PAGE.read_text("utf-8").splitlines()[-len(table()) :] == table()
