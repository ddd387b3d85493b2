"""The Helm chart as Helm itself renders it, checked against Kubernetes' schemas and the service's own settings.

No cluster is needed, and none has been tried: what a cluster does with the objects is not shown here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import helm_python as helm
import kubernetes_validate
import psycopg
import pytest
import yaml
from sqlalchemy import make_url

from jobs.access import projects
from jobs.access.limits import Limits
from jobs.access.scope import SERVICE
from jobs.database import Database
from jobs.repository import lifecycle
from jobs.settings import Settings
from tests.jobs.test_queue import change, submit
from tests.support.shared import ROOT
from tests.support.specs import train_spec

CHART = ROOT / "deploy" / "helm" / "adderworks"
KUBERNETES = ("1.29", "1.36")
"""The oldest version that the chart takes, and a current one."""
STORES = {"database": {"host": "postgres.example"}, "redis": {"host": "redis.example"}}
BUCKET = STORES | {"artifacts": {"url": "s3://bucket/adder"}}
FULL = BUCKET | {
    "api": {"allowedHosts": ["adder.example"], "trustedProxies": ["10.0.0.0/8"]},
    "ingress": {"enabled": True, "className": "nginx", "tls": {"secretName": "adder-tls"}},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccount": {"annotations": {"example.com/identity": "adder"}},
    "settings": {"ADDER_LOG_LEVEL": "DEBUG"},
    "networkPolicy": {"clients": [{"namespaceSelector": {}}], "stores": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
    "workers": {
        "cpu": {"slots": 2, "threads": 1, "autoscaling": {"enabled": True, "max": 8}},
        "gpu": {
            "gpus": 2,
            "resources": {"limits": {"memory": "64Gi"}},
            "nodeSelector": {"gpu": "h200"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "settings": {"ADDER_JOBS_PER_DEVICE": 2},
            "autoscaling": {"enabled": True, "max": 3, "jobsEach": 2},
        },
    },
}
CLAIM = STORES | {"artifacts": {"existingClaim": "adder"}, "childUser": False, "networkPolicy": {"enabled": False}}
VARIANTS: dict[str, dict[str, Any]] = {"bucket": BUCKET, "full": FULL, "claim": CLAIM}
Objects = list[dict[str, Any]]


def rendered(values: dict[str, Any]) -> Objects:
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="lab", namespace="research")
    texts = (text for name, text in files.items() if not name.endswith(".txt"))
    return [entry for text in texts for entry in yaml.safe_load_all(text) if entry]


def of_kind(objects: Objects, kind: str) -> dict[str, dict[str, Any]]:
    """Objects of a kind by what follows the release's name."""
    return {
        entry["metadata"]["name"].removeprefix("lab-adderworks-"): entry for entry in objects if entry["kind"] == kind
    }


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """The pods' specs by component."""
    owners = of_kind(objects, "Deployment") | of_kind(objects, "Job")
    return {name: owner["spec"]["template"]["spec"] for name, owner in owners.items()}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    found: dict[str, Any] = only
    return found


def variables(pod: dict[str, Any]) -> dict[str, str]:
    entries = container(pod)["env"]
    assert len({entry["name"] for entry in entries}) == len(entries), "no variable stands twice"
    return {entry["name"]: entry["value"] for entry in entries}


@pytest.fixture(scope="module", params=VARIANTS)
def objects(request: pytest.FixtureRequest) -> Objects:
    return rendered(VARIANTS[request.param])


@pytest.mark.parametrize("variant", VARIANTS)
def test_helm_finds_nothing_wrong(variant: str) -> None:
    found = helm.lint(CHART, VARIANTS[variant], strict=True)
    assert not found["errors"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_what_kubernetes_expects(objects: Objects, version: str) -> None:
    for entry in objects:
        if not entry["apiVersion"].startswith("keda.sh/"):  # not Kubernetes' own: its fields are KEDA's
            kubernetes_validate.validate(entry, version, strict=True)


def test_one_deployment_for_each_class_of_device_and_one_object_of_a_name(objects: Objects) -> None:
    names = [(entry["kind"], entry["metadata"]["name"]) for entry in objects]
    assert len(set(names)) == len(names)
    full = rendered(FULL)
    assert set(of_kind(full, "Deployment")) == {"api", "inference", "worker-cpu", "worker-gpu"}
    gpu, cpu = (container(pods(full)[f"worker-{name}"]) for name in ("gpu", "cpu"))
    assert gpu["resources"] == {"limits": {"memory": "64Gi", "nvidia.com/gpu": 2}}
    assert (gpu["image"], cpu["image"]) == ("adderworks:0.1.0-cuda", "adderworks:0.1.0")


def test_services_and_budgets_select_the_pods_that_they_name(objects: Objects) -> None:
    labels = {
        name: entry["spec"]["template"]["metadata"]["labels"] for name, entry in of_kind(objects, "Deployment").items()
    }
    for name, deployment in of_kind(objects, "Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    selectors = [(name, entry["spec"]["selector"]) for name, entry in of_kind(objects, "Service").items()]
    selectors += [
        (name, entry["spec"]["selector"]["matchLabels"])
        for name, entry in of_kind(objects, "PodDisruptionBudget").items()
    ]
    selectors += [
        (name, entry["spec"]["podSelector"]["matchLabels"]) for name, entry in of_kind(objects, "NetworkPolicy").items()
    ]
    for name, selector in selectors:
        assert [found for found in labels if selector.items() <= labels[found].items()] == [name]


def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in pods(objects).values():
        given = {name: value for name, value in variables(pod).items() if name.startswith("ADDER_")}
        fields = {name.removeprefix("ADDER_").lower() for name in given}
        known = set(Settings.model_fields)
        assert {field for field in fields if field not in known and field.removesuffix("_file") not in known} == set()
        with monkeypatch.context() as patch:
            for name, value in given.items():
                if not name.endswith("_FILE"):
                    patch.setenv(name, value)
            Settings()


def test_secrets_are_files_that_only_their_pods_have(objects: Objects) -> None:
    keys: dict[str, set[str]] = {}
    for name, pod in pods(objects).items():
        text = str(container(pod))
        assert not re.search(r"secretKeyRef|envFrom", text)
        volumes = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        mounted = {item["path"] for volume in volumes for item in volume["items"]}
        assert all(volume["defaultMode"] == 0o440 for volume in volumes)
        assert mounted == set(re.findall(r"/run/secrets/adder/([a-z-]+)", text))
        keys[name] = {key for key in mounted if not key.startswith("artifacts-")}
    assert keys.pop("migrate") == {"owner-password", "operator-key"}
    assert keys.pop("inference") == set()
    assert all(found == {"database-password", "redis-password"} for found in keys.values())


def test_pods_keep_the_security_standards(objects: Objects) -> None:
    """`restricted`, and `baseline` for workers whose jobs are another user."""
    split = any("ADDER_CHILD_UID" in variables(pod) for pod in pods(objects).values())
    for name, pod in pods(objects).items():
        own, shared = container(pod)["securityContext"], pod["securityContext"]
        assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (shared["runAsNonRoot"], shared["runAsUser"], shared["fsGroup"]) == (True, 10001, 10001)
        assert pod["automountServiceAccountToken"] is False
        assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
        assert own["capabilities"]["drop"] == ["ALL"]
        if split and name.startswith("worker"):
            assert (own["runAsUser"], own["capabilities"]["add"]) == (0, ["SETUID", "SETGID", "KILL"])
        else:
            assert "runAsUser" not in own
            assert "add" not in own["capabilities"]


def test_a_worker_has_the_time_to_hand_its_jobs_over_and_no_probe_that_ends_them(objects: Objects) -> None:
    for name, pod in pods(objects).items():
        if name.startswith("worker"):
            assert pod["terminationGracePeriodSeconds"] > Settings.model_fields["cancel_grace_seconds"].default + 10
            assert "livenessProbe" not in container(pod)


def test_inference_has_no_way_to_the_stores(objects: Objects) -> None:
    names = variables(pods(objects)["inference"])
    assert not [name for name in names if "DATABASE" in name or "BROKER" in name]
    for policy in (entry for name, entry in of_kind(objects, "NetworkPolicy").items() if name == "inference"):
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert ports == {53, 443}


def test_metadata_of_the_cloud_is_no_receiver_of_webhooks() -> None:
    egress = of_kind(rendered(BUCKET), "NetworkPolicy")["api"]["spec"]["egress"]
    (webhooks,) = (rule for rule in egress if "ipBlock" in str(rule))
    assert "169.254.0.0/16" in webhooks["to"][0]["ipBlock"]["except"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no host of the database": ({"database": {"host": ""}}, "/database/host"),
    "neither bucket nor claim": ({"artifacts": {"url": ""}}, "/artifacts"),
    "another scheme": ({"artifacts": {"url": "gs://bucket"}}, "/artifacts/url"),
    "a password among the settings": ({"settings": {"ADDER_DATABASE_PASSWORD": "x"}}, "ADDER_DATABASE_PASSWORD"),
    "a misspelled value": ({"worker": {}}, "worker"),
    "a class whose name is none": ({"workers": {"GPU_A": {}}}, "GPU_A"),
    "no time to save": ({"workers": {"cpu": {"graceSeconds": 10}}}, "/workers/cpu/graceSeconds"),
    "an ingress without a name": ({"ingress": {"enabled": True}}, "api.allowedHosts"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_by_name(case: str) -> None:
    given, named = WRONG[case]
    values = copy.deepcopy(BUCKET) | given
    with pytest.raises(helm.HelmError, match=re.escape(named)):
        rendered(values)


@pytest.fixture
def scaler(fresh_postgres_url: str, postgres_url: str) -> Iterator[str]:
    """A migrated database, as the role of docs/kubernetes.md that KEDA uses."""
    sql = re.search(r"```sql\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
    assert sql is not None
    role = f"scaler_{uuid4().hex[:8]}"
    name = make_url(fresh_postgres_url).database
    owner = postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(owner, autocommit=True) as admin:
        admin.execute(sql[1].replace("adder_scaler", role).replace("DATABASE adder", f"DATABASE {name}"))  # type: ignore[arg-type]
    yield owner.replace("//postgres@", f"//{role}:change-me@")
    with psycopg.connect(owner, autocommit=True) as admin:
        admin.execute(f"DROP OWNED BY {role}")  # type: ignore[arg-type]
        admin.execute(f"DROP ROLE {role}")  # type: ignore[arg-type]


def queries() -> dict[str, str]:
    scaled = of_kind(rendered(FULL), "ScaledObject")
    return {name: entry["spec"]["triggers"][0]["metadata"]["query"] for name, entry in scaled.items()}


def test_a_class_is_scaled_by_what_waits_for_it_and_what_it_runs(scaler: str, fresh_postgres_url: str) -> None:
    """KEDA's queries as its role asks them: of all projects, and of nothing but the columns of the queue."""
    database = Database(fresh_postgres_url)

    def waiting_and_running() -> dict[str, int]:
        with psycopg.connect(scaler) as connection:
            rows = {name: connection.execute(query).fetchone() for name, query in queries().items()}  # type: ignore[call-overload]
        return {name.removeprefix("worker-"): row[0] for name, row in rows.items()}

    try:
        assert waiting_and_running() == {"cpu": 0, "gpu": 0}
        ids = [submit(database, resources={"device": device}) for device in ("cpu", "cpu", "cuda", "auto")]
        assert waiting_and_running() == {"cpu": 3, "gpu": 2}
        with database.write(SERVICE) as session:
            other = projects.scope_of(projects.create(session, "other", Limits()))
        with database.write(other) as session:
            lifecycle.submit(session, train_spec(resources={"device": "cuda"}))
        assert waiting_and_running() == {"cpu": 3, "gpu": 3}
        lease = {"lease_expires_at": 1, "worker_id": "worker_a"}
        change(database, ids[0], status="running", device="cpu", **lease)
        change(database, ids[2], status="cancelling", device="cuda:1", **lease)
        assert waiting_and_running() == {"cpu": 3, "gpu": 3}
        change(database, ids[0], status="succeeded", finished_at=1, lease_expires_at=None)
        change(database, ids[3], status="paused")
        assert waiting_and_running() == {"cpu": 1, "gpu": 2}
        with psycopg.connect(scaler) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT spec FROM jobs")
        with psycopg.connect(scaler) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM keys")
    finally:
        database.dispose()
