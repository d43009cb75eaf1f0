"""A short, seeded sample of each proof. `make proofs` runs more, `make proofs-full PART=…` all of one."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from journeybatch import api
from proofs import disk, heart, kills, lanes, lives, night, outages, planted, power, race, replies, secrets, soak
from proofs.checker import Broken, read_bill
from proofs.power import in_process, knowing
from proofs.world import World

pytestmark = pytest.mark.proof


@pytest.fixture
def done(tmp_path: Path) -> tuple[World, list[dict[str, object]]]:
    """A job that went well, and its bill."""
    world = World(tmp_path, 6, twins=1)
    emulator = knowing(world)
    with in_process():
        assert api.run(world.job(), transport=emulator.transport(), seed=1).exit_code == 0
    return world, [record.as_json() for record in emulator.attempts]


def changed(path: Path, column: str, row: int, value: object) -> None:
    table = pq.read_table(path)
    cells = table[column].to_pylist()
    cells[row] = value
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(cells, table.schema.field(place).type)), path
    )


def test_the_checker_agrees_with_a_run_that_went_well(done: tuple[World, list[dict[str, object]]]) -> None:
    sums = done[0].judge(done[1], cap=6)
    assert (sums.rows, sums.attempts, sums.billed, sums.certain, sums.unknown) == (7, 6, 6, 6, 0)


@pytest.mark.parametrize(
    ("file", "column", "value"),
    [
        ("results", "response", "another row's"),
        ("results", "text", "thing 0099."),
        ("results", "jb_row", 5),
        ("results", "jb_status", "pending"),
        ("results", "jb_credits", 2),
        ("results", "jb_request", "999"),
        ("requests", "credits", 0),
        ("requests", "upstream_id", "chatcmpl-nobody"),
        ("requests", "outcome", "unknown"),
        ("requests", "request", "1"),
    ],
)
def test_the_checker_sees_what_is_not_so(
    done: tuple[World, list[dict[str, object]]], file: str, column: str, value: object
) -> None:
    changed(done[0].output / f"{file}.parquet", column, 3, value)
    with pytest.raises(Broken):
        done[0].judge(done[1])


def test_the_checker_sees_a_longer_bill_and_a_cap_that_did_not_hold(
    done: tuple[World, list[dict[str, object]]],
) -> None:
    world, bill = done
    with pytest.raises(Broken, match="the server saw 7"):
        world.judge([*bill, bill[0] | {"id": "more"}])
    with pytest.raises(Broken, match="over the cap of 5"):
        world.judge(bill, cap=5)


@pytest.mark.skipif(
    shutil.which("strace") is None and "CI" not in os.environ, reason="strace is missing: apt-get install strace"
)
def test_a_kill_at_a_system_call_costs_nothing_that_arrived(tmp_path: Path) -> None:
    world = World(tmp_path, 30, twins=3, concurrency=4)
    with kills.emulator(world, "--key", kills.KEY) as base_url:
        world.write(base_url)
        number = random.Random(len(read_bill(world.bill))).randint(20, 80)
        assert kills.try_point(world, [], kills.Point("write", number), kills.Point("fdatasync", 2))


def test_power_may_fail_at_any_moment() -> None:
    assert power.prove(60, 1, carried=0.05)[0] == 60


def test_a_disk_may_refuse_anything() -> None:
    disk.prove(0.008, 1)


def test_a_file_that_cannot_be_put_in_its_place_ends_a_run_with_disk_and_no_other(tmp_path: Path) -> None:
    with in_process():
        for number in (1, 3, 5):
            assert disk.refuse(tmp_path / f"{number}", disk.Refusal("replace", number, "EIO", True)) in (3, None)


def test_a_directory_lives_through_whatever_a_user_does() -> None:
    lives.prove(4, 1, steps=12)


def test_nights_under_a_seed_keep_every_promise() -> None:
    night.prove(4, 1)


def test_nights_of_the_heart_under_a_seed_keep_every_promise() -> None:
    heart.prove(40, 1)


def test_ten_minutes_of_an_endpoint_that_turns_all_away_cost_little_and_no_row() -> None:
    with in_process():
        cost = outages.live_through(outages.DAYS[8], 1100, 1)
    assert cost.failed == 0
    assert 0 < cost.extra < 300


def test_no_row_gets_another_s_answer_from_a_server_that_errs() -> None:
    lanes.prove(300, 1)


def test_one_of_many_gets_the_lock_whichever_way_it_comes() -> None:
    race.prove(2, 1, contenders=3)


def test_whatever_a_server_says_is_a_typed_outcome_at_its_right_price() -> None:
    replies.prove(1500, 1)


def test_the_kept_replies_are_typed_outcomes_with_every_status() -> None:
    for body in replies.corpus():
        for status in sorted({*replies.STATUSES}):
            replies.check_body(status, body)


def test_a_job_that_is_killed_in_its_middle_stays_small_and_exact(tmp_path: Path) -> None:
    assert "1 kills" in soak.prove(1000, 1, kills=1, page=tmp_path / "soak.svg")[1]
    assert (tmp_path / "soak.svg").read_text().count("polyline") == 4  # two processes: memory, descriptors


def test_a_key_that_the_server_says_back_is_in_no_byte_that_stays() -> None:
    secrets.prove(0.05, 1)


def test_a_planted_fault_is_seen() -> None:
    assert planted.caught(0, 1) is not None


def test_all_plants_still_have_their_place_in_the_source() -> None:
    package = Path(api.__file__).parent
    changes = [change for plant in planted.PLANTS for change in plant.changes]
    assert [(package / f"{module}.py").read_text().count(old) for module, old, _ in changes] == [1] * len(changes)
