"""The commands and the manifest of docs/cluster.md: real parsers read them, and nothing dangles."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.ablation import AblationArgs
from qa_core import command_line as cli

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
MANIFEST = list(yaml.safe_load_all((ROOT / "docs" / "kuberay.yaml").read_text(encoding="utf-8")))

# From KubeRay's API reference, ray.io/v1.
JOB = {"entrypoint", "entrypointNumGpus", "shutdownAfterJobFinishes", "backoffLimit"}
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
GROUP = {"rayStartParams", "template", "groupName", "replicas", "minReplicas", "maxReplicas"}


def make_lines() -> list[str]:
    return re.findall(r"^    (make .*)$", GUIDE, re.MULTILINE)


def of_kind(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in MANIFEST if one["kind"] == kind}


def inside(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a document."""
    if isinstance(content, dict):
        yield content
    for one in content.values() if isinstance(content, dict) else content:
        if isinstance(one, dict | list):
            yield from inside(one)


def ray_job() -> dict[str, Any]:
    (job,) = (one for one in MANIFEST if one["kind"] == "RayJob")
    return job["spec"]


@pytest.mark.parametrize("line", make_lines())
def test_make_commands_reach_the_real_parsers(line: str) -> None:
    assert len(make_lines()) >= 7
    words = shlex.split(line)
    asked = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    variables = dict(word.split("=", 1) for word in words[2:])
    variables.pop("RAY_ADDRESS", None)  # Ray's own, which the environment passes on
    flags = [word for name, value in variables.items() for word in (f"--{name.lower()}", value)]
    assert all(f'--{name.lower()} "${name}"' in asked for name in variables)
    if words[1] == "ablation":
        args = cli.parse(AblationArgs, "", flags)
        assert args.engine == variables.get("ENGINE", "local")


def test_variables_of_the_table_are_those_of_make_help() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    named = re.findall(r"^\| `([A-Z_]+)` \|", GUIDE, re.MULTILINE)
    assert {"ENGINE", "RAY_ADDRESS", "TRACKING_URI", "OPTUNA_STORAGE"} < set(named)
    assert all(f"{name}=" in told.stdout for name in named)


def test_the_manifest_has_what_kubernetes_requires() -> None:
    assert all(one["apiVersion"] and one["metadata"]["name"] for one in MANIFEST)
    names = [(one["kind"], one["metadata"]["name"]) for one in MANIFEST]
    assert len(names) == len(set(names))
    job = ray_job()
    assert set(job) == JOB | {"rayClusterSpec"} and set(job["rayClusterSpec"]) == CLUSTER
    head = job["rayClusterSpec"]["headGroupSpec"]
    (workers,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert set(head) <= GROUP and set(workers) == GROUP
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for pod in (one["containers"] for one in inside(MANIFEST) if "containers" in one):
        assert all(container["name"] and container["image"] for container in pod)
    pins = (ROOT / "constraints.txt").read_text()
    assert f"\nray=={job['rayClusterSpec']['rayVersion']}\n" in pins


def test_what_the_manifest_refers_to_is_there() -> None:
    for one in inside(MANIFEST):
        if "secretKeyRef" in one:
            assert one["secretKeyRef"]["name"] in of_kind("Secret")
        if "claimName" in one:
            assert one["claimName"] in of_kind("PersistentVolumeClaim")
        if "configMap" in one:
            assert one["configMap"]["name"] in of_kind("ConfigMap")
        if "volumes" in one:
            volumes = {volume["name"] for volume in one["volumes"]}
            mounts = {m["name"] for c in one["containers"] for m in c.get("volumeMounts", ())}
            assert mounts == volumes
    deployed = [one["spec"]["template"] for one in MANIFEST if one["kind"] == "Deployment"]
    labels = [template["metadata"]["labels"] for template in deployed]
    for one in MANIFEST:
        if one["kind"] == "Service":
            assert one["spec"]["selector"] in labels


def test_the_job_of_the_manifest_is_a_command_of_ours() -> None:
    words = shlex.split(ray_job()["entrypoint"])
    assert words[:3] == ["python", "-m", "experiments.ablation"]
    args = cli.parse(AblationArgs, "", words[3:])
    assert args.engine == "ray"
    for address in (args.tracking_uri, args.optuna_storage):
        assert address is not None
        assert re.split(r"[@/:]+", address.partition("://")[2].split("qa@")[-1])[0] in of_kind(
            "Service"
        )
