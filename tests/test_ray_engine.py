"""The Ray engine on a real cluster of two nodes: order, retries, killed workers, a lost node."""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_engine import Fail, KillSelf, Square, Threads, open_context

from qa_core.errors import UserError
from studies.engine.interface import Engine, InfrastructureError, Job, Outcome

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray reads on import: all on loopback
ray = pytest.importorskip("ray", reason="ray is not installed (make setup installs it)")

from ray.cluster_utils import Cluster  # noqa: E402

from studies.engine.processes import in_environment  # noqa: E402
from studies.engine.ray import RayEngine, gpu_share, joined, places  # noqa: E402

SMALL: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@dataclass(frozen=True)
class Where:
    """Tells process and node by a file, then waits until another file is there."""

    note: Path
    go: Path

    def run(self, context: Any) -> str:
        """The node where it ended."""
        node = ray.get_runtime_context().get_node_id()
        self.note.write_text(f"{os.getpid()} {node}")
        while not self.go.exists():
            time.sleep(0.05)
        return node


def lack_data() -> None:
    """What a worker of a node without the data opens."""
    raise UserError("There is no table data.csv.")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with in_environment({"PYTHONPATH": str(Path(__file__).parent)}):  # of the jobs above
        cluster = Cluster(initialize_head=True, head_node_args=SMALL | {"include_dashboard": False})
        cluster.add_node(**SMALL)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Cluster) -> Iterator[RayEngine]:
    with joined(cluster.address, 2):
        assert places() == 2
        with closing(RayEngine(open_context, workers=2)) as engine:
            yield engine


def finish(engine: Engine, count: int) -> dict[str, Outcome]:
    outcomes = [engine.next_outcome(60) for _ in range(count)]
    return {outcome.job.name: outcome for outcome in outcomes if outcome is not None}


def test_jobs_end_as_with_the_local_engine(engine: RayEngine, tmp_path: Path) -> None:
    jobs = [Job(str(n), Square(n), cost=n) for n in range(6)]
    jobs += [
        Job("threads", Threads()),
        Job("fragile", KillSelf(tmp_path / "fragile", times=1), cost=9),
        Job("wrong", Fail(ValueError("no such number"))),
    ]
    for job in jobs:
        engine.submit(job)
    ended = finish(engine, len(jobs))
    assert [ended[str(n)].value[0] for n in range(6)] == [0, 1, 4, 9, 16, 25]
    assert ended["threads"].value == "1"
    assert (ended["fragile"].value, ended["fragile"].attempts) == (2, 2)
    assert ended["wrong"].attempts == 2 and "no such number" in (ended["wrong"].error or "")
    assert len({ended[str(n)].value[1] for n in range(6)}) <= 3  # two workers, one was killed
    assert engine.next_outcome(0.1) is None and engine.running == []


def test_a_failing_machine_stops_everything(engine: RayEngine) -> None:
    engine.submit(Job("full", Fail(OSError("No space left on device"))))
    with pytest.raises(InfrastructureError, match="No space left"):
        finish(engine, 1)


def test_a_job_whose_node_is_lost_is_run_on_another(
    engine: RayEngine, cluster: Cluster, tmp_path: Path
) -> None:
    notes = [tmp_path / f"note{n}" for n in range(2)]
    go = tmp_path / "go"
    for n, note in enumerate(notes):
        engine.submit(Job(f"{n}", Where(note, go)))
    while not all(note.exists() and " " in note.read_text() for note in notes):
        assert engine.next_outcome(0.1) is None
    head, second = cluster.list_all_nodes()
    assert {note.read_text().split()[1] for note in notes} == {head.node_id, second.node_id}
    cluster.remove_node(second, allow_graceful=False)
    while len(engine.running) == 2:  # its worker lives on for a moment, and must not end the job
        assert engine.next_outcome(0.1) is None
    go.touch()
    ended = finish(engine, 2)
    assert sorted(outcome.attempts for outcome in ended.values()) == [1, 2]
    assert {outcome.value for outcome in ended.values()} == {head.node_id}


def test_a_node_without_the_data_is_named(engine: RayEngine) -> None:
    engine.close()
    with closing(RayEngine(lack_data, workers=1)) as blind:
        blind.submit(Job("never", Square(1)))
        with pytest.raises(InfrastructureError) as refusal:
            finish(blind, 1)
    assert "cannot open the ablation (There is no table data.csv.)" in str(refusal.value)
    assert "under the same paths" in str(refusal.value)


def test_no_cluster_is_told_in_a_sentence() -> None:
    with (
        pytest.raises(UserError, match=r"No Ray cluster can be joined at 127\.0\.0\.1:1"),
        joined("127.0.0.1:1", 1),
    ):
        pass


def test_gpus_are_shared_so_that_all_workers_find_room() -> None:
    assert gpu_share(0, 8) == 0
    assert gpu_share(4, 2) == gpu_share(4, 4) == 1
    assert gpu_share(4, 8) == 0.5
    for gpus, workers in ((3, 8), (1, 7), (8, 20)):
        assert int(1 / gpu_share(gpus, workers)) * gpus >= workers
