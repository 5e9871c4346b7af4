"""The manifests: what kustomize would resolve resolves, references are to what is there, and the numbers agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

_TOP = Path(__file__).parents[2]
_FOLDER = _TOP / "deploy" / "kubernetes" / "base"
_MADE_BY_HAND = {"bulk-unverify-queue", "bulk-unverify-key"}
"""The secrets."""


def _documents(folder: Path) -> list[dict[str, Any]]:
    """Return what the kustomization of `folder` names, as kustomize reads it."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        assert path not in folder.parents, "kustomize takes a base around its overlay for a cycle"
        found += _documents(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    return found


def _one(kind: str, folder: Path = _FOLDER) -> dict[str, Any]:
    [document] = [each for each in _documents(folder) if each["kind"] == kind]
    return document


_KUSTOMIZATION = yaml.safe_load((_FOLDER / "kustomization.yaml").read_text())
_DEPLOYMENT = _one("Deployment")
_POD = _DEPLOYMENT["spec"]["template"]["spec"]
[_CONTAINER] = _POD["containers"]
_LABELS = _DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
_KEDA = _FOLDER.parent / "keda"


def _flag(flag: str) -> str:
    words: list[str] = _CONTAINER["args"]
    return words[words.index(flag) + 1]


@pytest.mark.parametrize("folder", [_FOLDER, _KEDA], ids=lambda folder: folder.name)
def test_every_file_is_named_and_every_name_is_a_file(folder: Path) -> None:
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {name for name in named if not name.startswith("../")} | {"kustomization.yaml"} == {
        path.name for path in folder.glob("*.yaml")
    }
    assert len(named) == len(set(named))


def test_no_two_resources_are_one() -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in _documents(_KEDA)]
    assert len(names) == len(set(names)) == 6


def test_settings_and_secrets_come_from_what_is_there() -> None:
    maps = {each["name"] for each in _KUSTOMIZATION["configMapGenerator"]}
    wanted = {source["configMapRef"]["name"] for source in _CONTAINER["envFrom"] if "configMapRef" in source}
    assert wanted == maps
    secrets = {source["secretRef"]["name"] for source in _CONTAINER["envFrom"] if "secretRef" in source}
    secrets |= {volume["secret"]["secretName"] for volume in _POD["volumes"] if "secret" in volume}
    assert secrets == _MADE_BY_HAND
    told = (_TOP / "deploy" / "README.md").read_text()
    assert all(f"kubectl create secret generic {name}" in told for name in _MADE_BY_HAND)


def test_every_variable_is_one_that_the_program_reads() -> None:
    literals = [each for generator in _KUSTOMIZATION["configMapGenerator"] for each in generator["literals"]]
    names = {literal.partition("=")[0] for literal in literals} | {each["name"] for each in _CONTAINER["env"]}
    read = "".join(path.read_text() for path in (_TOP / "worker").rglob("*.py"))
    prefix = "MONOCLOUD_MANAGEMENT_"
    assert f'env_prefix="{prefix}"' in read
    fields = {f"{prefix}{field.upper()}" for field in re.findall(r"^    (\w+): .* = ", read, re.MULTILINE)}
    assert names == {"MONOCLOUD_MANAGEMENT_DOMAIN", "MONOCLOUD_MANAGEMENT_API_KEY_FILE"}
    assert names <= fields


def test_volumes_are_mounted_and_the_key_is_where_the_variable_says() -> None:
    mounted = {mount["name"]: mount["mountPath"] for mount in _CONTAINER["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in _POD["volumes"]}
    assert all("subPath" not in mount for mount in _CONTAINER["volumeMounts"])  # it would never change
    [variable] = _CONTAINER["env"]
    assert variable["value"] == f"{mounted['key']}/monocloud_management_api_key"
    assert ["WORKDIR", mounted["data"]] in [
        line.split() for line in (_TOP / "deploy" / "Containerfile").read_text().splitlines()
    ]


def test_selectors_meet_the_pods_and_ports_have_their_name() -> None:
    assert _DEPLOYMENT["spec"]["selector"]["matchLabels"] == _LABELS
    assert _one("Service")["spec"]["selector"] == _LABELS
    assert _one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == _LABELS
    assert _one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == _LABELS
    [spread] = _POD["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == _LABELS
    [port] = _CONTAINER["ports"]
    assert _flag("--listen") == f"0.0.0.0:{port['containerPort']}"
    assert _CONTAINER["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert _CONTAINER["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
    [served] = _one("Service")["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (port["containerPort"], port["name"])
    [ingress] = _one("NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in ingress["ports"]] == [port["name"]]


def test_the_pod_keeps_the_restricted_standard_and_knows_no_token() -> None:
    """Source: Kubernetes, Pod Security Standards, "Restricted"."""
    assert _POD["securityContext"]["runAsNonRoot"] is True
    assert _POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert _CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(set(volume) - {"name"} <= {"secret", "emptyDir"} for volume in _POD["volumes"])
    account = _one("ServiceAccount")
    assert _POD["serviceAccountName"] == account["metadata"]["name"]
    assert (_POD["automountServiceAccountToken"], account["automountServiceAccountToken"]) == (False, False)
    user = _POD["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}\n" in (_TOP / "deploy" / "Containerfile").read_text()


def test_the_shares_of_the_rate_never_add_up_to_more_than_the_rate() -> None:
    strategy = _DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]
    workers = int(_flag("--workers"))
    assert _DEPLOYMENT["spec"]["replicas"] + strategy["maxSurge"] == workers
    assert _one("ScaledObject", _KEDA)["spec"]["maxReplicaCount"] + strategy["maxSurge"] == workers
    assert strategy["maxUnavailable"] == 0


def test_a_pod_has_the_time_that_it_needs_to_stop() -> None:
    assert _POD["terminationGracePeriodSeconds"] == 60


def test_the_images_tag_is_the_projects_version() -> None:
    version = tomllib.loads((_TOP / "pyproject.toml").read_text())["project"]["version"]
    [image] = _KUSTOMIZATION["images"]
    assert image["name"] == _CONTAINER["image"] == "bulk-unverify"
    assert image["newTag"] == version


def test_the_scaler_has_the_shape_that_keda_takes_and_scales_the_deployment() -> None:
    """Source: KEDA's documentation and pkg/scalers/redis_streams_scaler.go; there is no schema at hand."""
    scaler = _one("ScaledObject", _KEDA)
    assert scaler["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaler["spec"]
    assert spec.keys() == {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "triggers",
    }
    assert spec["scaleTargetRef"] == {"name": _DEPLOYMENT["metadata"]["name"]}
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    [trigger] = spec["triggers"]
    assert trigger["type"] == "redis-streams"
    assert trigger["metadata"].keys() == {
        "address",
        "stream",
        "streamLength",
    }  # with a group it counts the taken
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    told = (_TOP / "deploy" / "README.md").read_text()
    assert f"/0?stream={trigger['metadata']['stream']}" in told


def test_the_scalers_patch_finds_what_it_removes() -> None:
    [patch] = yaml.safe_load((_KEDA / "kustomization.yaml").read_text())["patches"]
    assert patch["target"] == {"kind": "Deployment", "name": _DEPLOYMENT["metadata"]["name"]}
    [operation] = yaml.safe_load(patch["patch"])
    place: Any = _DEPLOYMENT
    for part in operation["path"].strip("/").split("/"):
        place = place[part]
    assert (operation["op"], place) == ("remove", _DEPLOYMENT["spec"]["replicas"])
