"""Settings from variables and from files, and the URLs that are made of parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsError
from sqlalchemy import make_url

from jobs.settings import Settings

PASSWORD = "p@ss/word:%?# ä"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


def test_a_password_of_any_characters_comes_from_a_file_into_the_url(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDER_DATABASE_HOST", "postgres")
    monkeypatch.setenv("ADDER_DATABASE_USER", "adder_app")
    monkeypatch.setenv("ADDER_DATABASE_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("ADDER_BROKER_HOST", "redis")
    monkeypatch.setenv("ADDER_BROKER_PASSWORD_FILE", str(secret))
    settings = Settings()
    url = make_url(settings.resolved_database_url)
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "adder_app", PASSWORD, "postgres", 5432, "adder",
    )  # fmt: skip
    assert make_url(settings.resolved_broker_url).password == PASSWORD
    assert PASSWORD not in repr(settings)


def test_any_setting_comes_from_a_file_and_a_variable_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("postgresql://one\n")
    monkeypatch.setenv("ADDER_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert Settings().resolved_database_url == "postgresql://one"
    monkeypatch.setenv("ADDER_DATABASE_URL", "postgresql://two")
    assert Settings().resolved_database_url == "postgresql://two"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADDER_BROKER_PASSWORD_FILE", "/nowhere/password")
    with pytest.raises(SettingsError, match=r"ADDER_BROKER_PASSWORD_FILE is /nowhere/password: No such file"):
        Settings()


def test_without_parts_the_embedded_database_and_a_broker_of_this_machine_are_used(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.resolved_database_url == f"sqlite:///{tmp_path / 'adder.db'}"
    assert settings.resolved_broker_url == "redis://127.0.0.1:6379/0"
