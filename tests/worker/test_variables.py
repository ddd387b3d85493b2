"""What a job's process sees of its worker's environment: what it needs, and nothing that only the worker may know."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.variables import child_environment, passes

SECRETS = (
    "ADDER_DATABASE_URL", "ADDER_BROKER_URL", "ADDER_API_KEY", "ADDER_OPERATOR_KEY", "ADDER_DATABASE_PASSWORD_FILE",
    "ADDER_INFERENCE_URL", "ADDER_ARTIFACTS_URL", "PGPASSWORD", "PGPASSFILE", "DATABASE_URL", "REDIS_URL",
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN", "NVIDIA_API_KEY", "OPENAI_API_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET", "SSH_AUTH_SOCK", "KUBECONFIG", "DOCKER_AUTH_CONFIG",
    "HTTPS_PROXY", "PYTHON_KEYRING_PASSWORD", "TORCH_HUB_TOKEN", "SOMETHING_THAT_NOBODY_KNOWS",
)  # fmt: skip
NEEDED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV",
    "KMP_AFFINITY", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "MALLOC_ARENA_MAX", "MPLCONFIGDIR", "XDG_CACHE_HOME",
    "TORCH_LOGS", "PYTORCH_CUDA_ALLOC_CONF", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "CUDA_DEVICE_ORDER",
    "NCCL_SOCKET_IFNAME", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "ADDER_BACKEND", "ADDER_COMMIT",
    "ADDER_CPU_CAPABILITY",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_not_on_the_list_does_not_reach_a_job(name: str) -> None:
    assert name not in child_environment({name: "canary"}, 1)


@pytest.mark.parametrize("name", NEEDED)
def test_what_trainings_and_their_libraries_read_reaches_a_job(name: str) -> None:
    assert child_environment({name: "value"}, 1)[name] == "value"


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12), st.sampled_from(["TORCH_", "CUDA_", "LC_"]))
def test_a_family_of_variables_lets_no_name_of_a_secret_through(rest: str, family: str) -> None:
    for word in ("API_KEY", "TOKEN", "CLIENT_SECRET", "PASSWORD"):
        assert not passes(f"{family}{rest}{word}")


def test_an_operator_names_further_variables() -> None:
    inherited = {"PROXY": "1", "STUDY_NAME": "2", "STUDY": "3", "OTHER": "4"}
    seen = child_environment(inherited, 1, also=("PROXY", "STUDY_*"))
    assert {name for name in inherited if name in seen} == {"PROXY", "STUDY_NAME"}


def test_variables_that_this_process_has_by_chance_do_not_matter() -> None:
    found = child_environment({**os.environ, **dict.fromkeys(SECRETS, "canary")}, 1)
    assert "canary" not in found.values()
