"""Whole objects of the contract for tests to change; the stand-in compares what it sends with the OpenAPI document."""

from __future__ import annotations

from typing import Any

MOMENT = "2026-11-20T10:00:00.123Z"


def job(identity: str, status: str = "queued", **more: Any) -> dict[str, Any]:
    """A training at its second epoch of four."""
    progress = {
        "phase": "training",
        "epoch": 1,
        "epochs": 4,
        "step": 12,
        "steps": 48,
        "fraction": 0.25,
        "images_per_second": 900.5,
    }
    return {
        "id": identity,
        "kind": "train",
        "status": status,
        "spec": {"kind": "train", "model": {"arch": "lenet5_bn", "method": "adder"}, "dataset": {"name": "digits"}},
        "labels": {},
        "name": None,
        "notes": None,
        "starred": False,
        "created_at": MOMENT,
        "queued_at": MOMENT,
        "started_at": None,
        "finished_at": None,
        "attempt": 0,
        "run_seconds": None,
        "queue_position": 1 if status == "queued" else None,
        "estimated_start_at": None,
        "waiting_for": None,
        "progress": {**progress, "eta_seconds": None},
        "environment": None,
        "result": None,
        "model_id": None,
        "error": None,
        "retry_of": None,
        "continued_from": None,
        **more,
    }


def metric(seq: int, name: str = "train/loss", value: float | None = 0.5, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "name": name, "step": seq, "epoch": 0, "value": value, "time": MOMENT, **more}


def event(seq: int, message: str = "one is done", **more: Any) -> dict[str, Any]:
    return {"seq": seq, "time": MOMENT, "type": "epoch", "message": message, "data": None, **more}


def attempt(number: int, started_at: str, ended_at: str | None, cause: str | None, **more: Any) -> dict[str, Any]:
    where = {"worker": "worker_1", "device": "cpu"}
    times = {"started_at": started_at, "ended_at": ended_at}
    return {"attempt": number, **where, **times, "cause": cause, "message": None, **more}


def artifact(name: str, data: bytes, sha256: str) -> dict[str, Any]:
    media_type = "application/octet-stream"
    return {
        "name": name,
        "kind": "model",
        "media_type": media_type,
        "bytes": len(data),
        "sha256": sha256,
        "created_at": MOMENT,
    }


def costs(operations: dict[str, int] | None = None, energy: float = 7.5e-7) -> dict[str, Any]:
    """Those of LeNet-5-BN as an adder network."""
    own = operations or {"add": 833_040, "mul": 0, "xnor": 0}
    return {"operations": own, "parameter_bytes": 247_768, "energy_joules": energy, "data_type": "fp32"}


def timed(engine: str = "integer", precision: str = "int8", p50_ms: float = 0.01144, **more: Any) -> dict[str, Any]:
    own = {"engine": engine, "precision": precision, "batch": 1, "threads": 1}
    return {**own, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "bytes": 64_000, **more}


def model(identity: str, **more: Any) -> dict[str, Any]:
    """An imported one."""
    return {
        "id": identity,
        "source": "imported",
        "job_id": None,
        "arch": "lenet5_bn",
        "method": "adder",
        "dataset": "digits",
        "parameters": 61706,
        "format": "safetensors",
        "derived_from": None,
        "metrics": None,
        "bytes": 7,
        "sha256": "0" * 64,
        "created_at": MOMENT,
        "name": None,
        "notes": None,
        "labels": {},
        "starred": False,
        "aliases": [],
        "costs": costs(),
        "twin_costs": costs({"add": 416_520, "mul": 416_520, "xnor": 0}, 1.92e-6),
        "latency": None,
        "manifest": {},
        **more,
    }


def dataset(name: str, **more: Any) -> dict[str, Any]:
    """A published one that is there."""
    return {
        "id": f"ds_{name}",
        "name": name,
        "version": None,
        "status": "ready",
        "problems": [],
        "notes": [],
        "preview": None,
        "job_id": None,
        "same_as": None,
        "description": "",
        "source": "",
        "input_shape": [1, 32, 32],
        "classes": list("01"),
        "train_size": 1437,
        "validation_size": 360,
        "available": True,
        "how_to_get": "",
        "bytes": None,
        "created_at": None,
        **more,
    }


def upload(**more: Any) -> dict[str, Any]:
    """A user's dataset that is being validated."""
    unknown = dict.fromkeys(("input_shape", "classes", "train_size", "validation_size"))
    own = {"id": "ds_1", "version": 1, "status": "validating", "job_id": "job_1", "available": False}
    return dataset("leaves", **{**unknown, **own, **more})


def recipe(dataset: str = "digits") -> dict[str, Any]:
    return {
        "name": "table1",
        "title": "Gradient norms",
        "reference": "Table 1",
        "description": "The norm of each layer's gradient.",
        "output": "table",
        "datasets": ["mnist"],
        "takes_model": True,
        "options": ["epochs"],
        "controls": [],
        "operations": 3_198_873_600,
        "spec": {"kind": "analyze", "recipe": "table1", "dataset": {"name": dataset}, "seeds": [0, 1]},
    }


def validation(spec: dict[str, Any]) -> dict[str, Any]:
    costs = {"parameter_bytes": 600, "activation_bytes": 18816, "energy_joules": 2.1e-7, "latency_cycles": 470400}
    layer = {"name": "conv1", "kind": "adder", "output_shape": [6, 28, 28], "parameters": 150, **costs}
    layer["operations"] = {"add": 235200, "mul": 0, "xnor": 0}
    whole = {"parameter_bytes": 246824, "activation_bytes": 26000, "energy_joules": 7.5e-7, "latency_cycles": 1667776}
    model = {"parameters": 61706, "operations": {"add": 833888, "mul": 0, "xnor": 0}, "layers": [layer], **whole}
    model |= {"data_type": "fp32", "energy_by_data_type": {"fp32": 7.5e-7}}
    estimate = {"seconds": 12.5, "memory_bytes": 4_068_472, "queue_position": 1, "start_at": None, "waiting_for": None}
    return {"spec": spec, "model": model, "estimate": estimate}


def system() -> dict[str, Any]:
    versions = {"adderworks": "0.1.0", "api": "1", "python": "3.11", "database": "SQLite"}
    queue = {"depth": {"queued": 0}, "oldest_queued_seconds": 0, "slots": 1}
    return {"versions": versions, "workers": [], "devices": [], "backends": [], "queue": queue}


def readiness(ready: bool = True, worker: str = "1 is alive") -> dict[str, Any]:
    checks = {name: {"ok": True, "detail": "", "required": True} for name in ("database", "broker", "inference")}
    return {"ready": ready, "checks": {**checks, "worker": {"ok": ready, "detail": worker, "required": True}}}


def sweep(identity: str, status: str = "running", **more: Any) -> dict[str, Any]:
    spec = {"base": {}, "grid": {"seed": [0, 1]}, "objective": "val/accuracy", "direction": "maximize"}
    progress = {"done": 1, "running": 1, "waiting": 0, "failed": 0, "cancelled": 0, "pruned": 0, "total": 2}
    return {
        "id": identity,
        "name": None,
        "status": status,
        "spec": spec,
        "labels": {},
        "message": None,
        "created_at": MOMENT,
        "finished_at": None,
        "progress": progress,
        "best": {"trial": 0, "job_id": "job_0001", "parameters": {"seed": 0}, "value": 0.9861},
        **more,
    }


def trial(number: int, status: str, job_status: str | None, **more: Any) -> dict[str, Any]:
    own = {"number": number, "status": status, "parameters": {"seed": number}, "job_id": f"job_{number:04d}"}
    return {**own, "job_status": job_status, "value": None, "seconds": None, "message": None, **more}
