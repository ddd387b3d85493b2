"""What other tools call the fields of this one, and their values: for the answer to an unknown name."""

from collections.abc import Sequence
from typing import Final

SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "accumulate": ("gradient_accumulation", "gradient_accumulation_steps", "accumulate_grad_batches", "grad_accum"),
    "after": ("cursor", "page_token", "next_token", "starting_after", "offset"),
    "arch": ("architecture", "network", "backbone", "net", "model_name"),
    "array": ("instances", "pixels", "tensor", "matrix", "ndarray"),
    "augment": ("augmentation", "augmentations", "transform", "transforms", "data_augmentation"),
    "base": ("spec", "job", "job_spec", "template", "base_spec", "config"),
    "batchnorm_momentum": ("bn_momentum", "batch_norm_momentum", "norm_momentum"),
    "batch_size": ("batchsize", "batch", "minibatch", "train_batch_size", "per_device_train_batch_size"),
    "channels": ("grayscale", "greyscale", "color_mode", "num_channels"),
    "choices": ("values", "options", "categories"),
    "clip_norm": ("max_grad_norm", "gradient_clip_val", "grad_clip", "gradient_clipping", "clip"),
    "dataset": ("data", "datasets", "train_data"),
    "device": ("accelerator", "gpu", "cuda"),
    "direction": ("mode", "goal"),
    "early_stop": ("early_stopping", "earlystopping"),
    "epochs": ("num_epochs", "n_epochs", "max_epochs", "epoch", "num_train_epochs", "iterations"),
    "every_epochs": ("save_every", "save_period", "period"),
    "gpus": ("num_gpus", "n_gpus"),
    "grid": ("param_grid", "grid_search", "matrix"),
    "high": ("max", "maximum", "upper"),
    "image": ("file", "img", "picture", "photo", "input", "inputs"),
    "init_from": ("pretrained", "weights", "pretrained_weights", "from_pretrained", "initial_weights"),
    "init_scale": ("init_std", "initializer_range", "weight_init_std"),
    "kind": ("type", "task", "job_type"),
    "labels": ("tags", "tag"),
    "limit": ("per_page", "page_size", "pagesize", "count", "top"),
    "loader_workers": ("num_workers", "workers", "dataloader_num_workers", "n_workers"),
    "low": ("min", "minimum", "lower"),
    "lr": ("learning_rate", "learningrate", "base_lr", "init_lr", "lr0", "alpha"),
    "max_seconds": ("timeout", "max_time", "time_limit", "walltime"),
    "memory_gb": ("memory", "ram", "mem", "mem_gb"),
    "method": ("layer", "layer_type", "variant"),
    "metrics_every_steps": ("log_interval", "log_every", "logging_steps", "log_every_n_steps"),
    "objective": ("metric", "monitor", "target", "target_metric"),
    "optimizer": ("optim", "optimiser"),
    "parallel": ("n_jobs", "max_parallel", "concurrency", "max_concurrent", "max_concurrent_trials"),
    "patience": ("early_stopping_patience",),
    "precision": ("dtype", "amp", "fp16", "bf16", "mixed_precision"),
    "q": ("query", "text"),
    "sampler": ("algorithm", "algo", "strategy", "search_alg"),
    "schedule": ("scheduler", "lr_scheduler", "lr_schedule"),
    "search": ("params", "parameters", "space", "search_space", "random", "distributions", "param_distributions"),
    "seed": ("random_seed", "random_state", "rng_seed", "manual_seed"),
    "size": ("resize", "image_size", "img_size", "imgsz"),
    "status": ("state", "states"),
    "step": ("q", "stepsize", "step_size"),
    "teacher": ("teacher_model", "teacher_id"),
    "threads": ("num_threads", "n_threads", "cpus", "num_cpus"),
    "transparent_on": ("background", "ground"),
    "trials": ("n_trials", "num_trials", "max_trials", "num_samples"),
    "validation_fraction": ("val_split", "validation_split", "test_size", "val_fraction", "val_size"),
    "value_range": ("range",),
    "warmup_epochs": ("warmup", "warm_up", "warmup_steps", "num_warmup_steps", "warmup_ratio", "lr_warmup_epochs"),
    "weight_decay": ("l2", "decay", "l2_penalty", "weightdecay"),
}

FIELD_OF: Final = {other: name for name, others in SYNONYMS.items() for other in others}
"""The field that another tool's name means."""

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "adder": ("addernet", "add", "l1"),
    "bf16": ("bfloat16", "amp", "mixed", "16"),
    "bnn": ("binary", "binaryconnect", "binarynet"),
    "cancelled": ("canceled", "aborted", "stopped", "killed"),
    "constant": ("fixed", "flat"),
    "conv": ("cnn", "convolution", "convolutional", "conv2d", "standard"),
    "cosine": ("cosineannealing", "cosineannealinglr", "cosinedecay"),
    "crop_flip": ("standard", "cifar", "flip"),
    "cuda": ("gpu", "nvidia"),
    "evaluate": ("eval", "evaluation", "test", "validate"),
    "failed": ("error", "errored", "failure", "crashed"),
    "fp32": ("float32", "float", "full", "single", "32"),
    "none": ("off", "no", "null", "false", "default"),
    "quantize": ("quantise", "quantization", "quantisation", "int8", "ptq"),
    "queued": ("pending", "waiting", "created", "submitted"),
    "running": ("active", "started", "inprogress"),
    "succeeded": ("success", "successful", "done", "finished", "completed", "complete", "ok"),
    "train": ("training", "fit"),
    "xnor": ("xnornet",),
}
"""Without what is no letter and no digit."""


def meant_by(other: str, known: Sequence[str]) -> str | None:
    """The one of the `known` values that another tool calls `other`, in small letters and digits alone."""
    return next((value for value in known if other in VALUES.get(value, ())), None)
