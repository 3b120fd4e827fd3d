"""The samples of how to deploy: they fit the image, and the configuration in them loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from heartbeat.config import load

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
IMAGE = (ROOT / "Dockerfile").read_text()
GIVEN = dict(re.findall(r"\b(HEARTBEAT_\w+)=(\S+)", IMAGE))
DATA = "/var/lib/heartbeat"
USER = re.findall(r"^USER (.*)$", IMAGE, re.MULTILINE)[0]


def kubernetes() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load_all((DEPLOY / "kubernetes/heartbeat.yaml").read_text())
    return {one["kind"]: one for one in found}


def test_the_configuration_for_kubernetes_loads_with_what_the_image_gives(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(kubernetes()["ConfigMap"]["data"]["config.yaml"])
    config = load([path], GIVEN)
    assert str(config.store).startswith(DATA)
    assert (config.web.host, config.web.port) == ("0.0.0.0", 9780)
    assert set(config.receivers["oncall"].channels) == {"oncall/alertmanager"}


def test_in_kubernetes_there_is_one_replica_without_rights_that_writes_to_its_volume_only() -> None:
    spec = kubernetes()["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["replicas"] == 1
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == USER
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {DATA, "/etc/heartbeat", "/tmp"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"


def test_compose_runs_the_image_as_it_is_meant_to_run() -> None:
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = whole["services"]["heartbeat"]
    assert (service["user"], service["read_only"], service["init"]) == (USER, True, True)
    assert f"heartbeat:{DATA}" in service["volumes"]
    assert set(whole["volumes"]) == {"heartbeat"}
    assert set(service["secrets"]) == set(whole["secrets"])
