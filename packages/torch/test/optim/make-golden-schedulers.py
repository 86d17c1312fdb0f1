"""Writes ../golden/lr-schedulers.json: rates, momenta and states of PyTorch's schedulers, epoch by epoch.

Run with the Python of the LibTorch that the tests use: python3 make-golden-schedulers.py
"""
import json
import math
import os
import warnings

import torch
from torch.optim import lr_scheduler

warnings.simplefilter("ignore")
RATES = [0.1, 0.03]
# Functions by name, so that the test has the same ones; without powers, which differ between languages.
FUNCTIONS = {"inverse": lambda e: 1 / (1 + e), "line": lambda e: 0.5 + 0.1 * e}
LEFT_OUT = {"optimizer", "_scale_fn_ref", "anneal_func"}


def make_optimizer(name):
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in RATES]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, RATES)]
    keywords = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(torch.optim, name)(groups, lr=1.0, **keywords)


def resolve(value):
    if isinstance(value, list):
        return [resolve(item) for item in value]
    return FUNCTIONS[value] if isinstance(value, str) and value in FUNCTIONS else value


def make_scheduler(spec, optimizer):
    name, args, options = spec
    cls = getattr(lr_scheduler, name)
    if name in ("SequentialLR", "ChainedScheduler"):
        inner = [make_scheduler(s, optimizer) for s in args[0]]
        return cls(inner) if name == "ChainedScheduler" else cls(optimizer, inner, *args[1:], **options)
    return cls(optimizer, *resolve(args), **{k: resolve(v) for k, v in options.items()})


def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if k not in LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return None if callable(value) else value


def groups_of(optimizer):
    kept = ("lr", "momentum", "betas")
    return [{k: plain(g[k]) for k in kept if k in g} for g in optimizer.param_groups]


def run(spec, steps=12, optimizer="SGD", metrics=None, epochs=None):
    opt = make_optimizer(optimizer)
    scheduler = make_scheduler(spec, opt)
    trace = [groups_of(opt)]
    for i in range(steps):
        opt.step()
        if metrics is not None:
            scheduler.step(metrics[i])
        elif epochs is not None:
            scheduler.step(epochs[i])
        else:
            scheduler.step()
        trace.append(groups_of(opt))
    return {
        "scheduler": spec,
        "optimizer": optimizer,
        "metrics": metrics,
        "epochs": epochs,
        "trace": trace,
        "state": plain(scheduler.state_dict()),
        "last_lr": scheduler._last_lr,
    }


METRICS = [1.0, 0.9, 0.95, 0.9, 0.89995, 0.91, 0.8, 0.85, 0.85, 0.85, 0.85, 0.85]
WARMUP = ["LinearLR", [], {"start_factor": 0.1, "total_iters": 4}]
CASES = [
    run(["LambdaLR", ["inverse"], {}]),
    run(["LambdaLR", [["inverse", "line"]], {}]),
    run(["MultiplicativeLR", ["line"], {}]),
    run(["StepLR", [3], {}]),
    run(["StepLR", [4], {"gamma": 0.7}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["MultiStepLR", [[2, 5, 5, 9]], {"gamma": 0.3}]),
    run(["MultiStepLR", [[2, 5, 5, 9]], {"gamma": 0.3}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["ConstantLR", [], {}]),
    run(["ConstantLR", [], {"factor": 0.3, "total_iters": 7}]),
    run(["LinearLR", [], {}]),
    run(WARMUP),
    run(["LinearLR", [], {"start_factor": 0.9, "end_factor": 0.2, "total_iters": 8}]),
    run(["LinearLR", [], {}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["ExponentialLR", [0.87], {}]),
    run(["ExponentialLR", [0.87], {}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["PolynomialLR", [], {"total_iters": 9, "power": 0.9}]),
    run(["PolynomialLR", [], {}]),
    run(["PolynomialLR", [], {"total_iters": 9, "power": 2.5}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["CosineAnnealingLR", [7], {}], steps=40),
    run(["CosineAnnealingLR", [25], {"eta_min": 0.001}], steps=120, optimizer="Adam"),
    run(["CosineAnnealingLR", [7], {}], epochs=[0, 1, 5, 3, 8, 9, 20, 2, 4, 4, 12, 40]),
    run(["CosineAnnealingWarmRestarts", [5], {}], steps=30),
    run(["CosineAnnealingWarmRestarts", [3], {"T_mult": 2, "eta_min": 0.002}], steps=40),
    run(
        ["CosineAnnealingWarmRestarts", [4], {"T_mult": 2}],
        epochs=[0, 0.25, 0.5, 3.75, 4.5, 8, 11.5, 12, 12.25, 27.75, 28, 2],
    ),
    run(["CosineAnnealingWarmRestarts", [4], {}], epochs=[0, 0.25, 0.5, 3.75, 4.5, 8, 11.5, 12, 12.25, 27.75, 28, 2]),
    run(["CyclicLR", [0.01, 0.1], {"step_size_up": 4}], steps=20),
    run(["CyclicLR", [[0.01, 0.02], [0.1, 0.2]], {"step_size_up": 3, "step_size_down": 5, "mode": "triangular2"}], steps=30),
    run(["CyclicLR", [0.001, 0.02], {"step_size_up": 4, "mode": "exp_range", "gamma": 0.94}], steps=30),
    run(["CyclicLR", [0.001, 0.02], {"step_size_up": 4, "scale_fn": "inverse", "cycle_momentum": False}], steps=20, optimizer="Adam"),
    run(["CyclicLR", [0.001, 0.02], {"step_size_up": 4, "scale_fn": "inverse", "scale_mode": "iterations"}], steps=20),
    run(["OneCycleLR", [0.1], {"total_steps": 20}], steps=19),
    run(["OneCycleLR", [[0.1, 0.3]], {"epochs": 4, "steps_per_epoch": 6, "three_phase": True, "pct_start": 0.25}], steps=23, optimizer="Adam"),
    run(
        ["OneCycleLR", [0.2], {"total_steps": 15, "anneal_strategy": "linear", "div_factor": 10, "final_div_factor": 50, "cycle_momentum": False}],
        steps=15,
        optimizer="Adam",
    ),
    run(["ReduceLROnPlateau", [], {"patience": 2}], metrics=METRICS),
    run(["ReduceLROnPlateau", [], {"patience": 0, "factor": 0.5, "cooldown": 2, "min_lr": [0.02, 0.001]}], metrics=METRICS),
    run(["ReduceLROnPlateau", [], {"mode": "max", "patience": 1, "threshold": 0.04, "threshold_mode": "abs"}], metrics=METRICS),
    run(["ReduceLROnPlateau", [], {"mode": "max", "patience": 1, "threshold": 0.02}], metrics=METRICS),
    run(["ReduceLROnPlateau", [], {"mode": "min", "patience": 1, "threshold": 0.03, "threshold_mode": "abs"}], metrics=METRICS),
    run(["SequentialLR", [[WARMUP, ["CosineAnnealingLR", [10], {}]], [4]], {}], steps=20),
    run(["SequentialLR", [[WARMUP, ["StepLR", [2], {"gamma": 0.5}], ["ExponentialLR", [0.9], {}]], [3, 8]], {}], steps=15),
    run(["ChainedScheduler", [[["ConstantLR", [], {"factor": 0.1, "total_iters": 2}], ["ExponentialLR", [0.9], {}]]], {}]),
]

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "lr-schedulers.json")
with open(path, "w") as file:
    json.dump({"torch": torch.__version__, "rates": RATES, "cases": CASES}, file)
    file.write("\n")
