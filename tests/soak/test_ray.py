"""A cluster of two nodes on this machine, one of which is killed while it works."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from inference.gemma.checkpoint import Checkpoint
from inference.harvest.command import SHARDS, harvest
from inference.harvest.telling import silent
from tests.inference.harvest.asking import ask, results

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default"), pytest.mark.timeout(500)]


def test_a_node_that_is_killed_midway_changes_nothing_about_the_result(tmp_path: Path, tiny: Checkpoint) -> None:
    import ray
    from ray.cluster_utils import Cluster

    plain, shared = tmp_path / "plain", tmp_path / "shared"
    ask(plain, home=tmp_path / "home", model_folder=tiny.folder)
    harvest(plain, tell=silent)
    asked: dict[str, Any] = {"engine": "ray", "workers": 2, "shard_passages": 2}
    ask(shared, home=tmp_path / "home", model_folder=tiny.folder, **asked)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    victim = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        killed = threading.Event()

        def kill_midway() -> None:
            while len(list((shared / SHARDS).glob("0*"))) < 3:
                time.sleep(0.01)
            cluster.remove_node(victim, allow_graceful=False)
            killed.set()

        threading.Thread(target=kill_midway, daemon=True).start()
        harvest(shared, tell=silent)
        assert killed.wait(60)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert results(shared) == results(plain)
