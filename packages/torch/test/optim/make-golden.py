"""Writes ../golden/optim.json: parameters and state after steps of PyTorch's optimizers on literal gradients.

Run with the Python of the LibTorch that the tests use: OMP_NUM_THREADS=1 python3 make-golden.py
"""
import json
import os

import torch

SHAPES = [(4, 9), (7,), (1,)]
STEPS = 6


def values(seed, shape, dtype):
    count = 1
    for size in shape:
        count *= size
    state, out = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2147483648
        out.append(state / 1073741824 - 1)
    return torch.tensor(out, dtype=torch.float32).to(dtype).reshape(shape)


def run(name, options, dtype=torch.float32, late=False):
    params = [torch.nn.Parameter(values(10 + i, shape, dtype)) for i, shape in enumerate(SHAPES)]
    keywords = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    optimizer = getattr(torch.optim, name)(params, **keywords)
    for step in range(STEPS):
        for i, param in enumerate(params):
            skipped = late and (i == 1 and step < 2 or i == 2 and step == 4)
            param.grad = None if skipped else values(100 * step + i, SHAPES[i], dtype)
        optimizer.step()
    saved = optimizer.state_dict()
    state = {
        str(key): {k: v.tolist() if torch.is_tensor(v) else v for k, v in record.items() if v is not None}
        for key, record in saved["state"].items()
    }
    return {
        "optimizer": name,
        "options": options,
        "dtype": str(dtype)[6:],
        "late": late,
        "params": [p.tolist() for p in params],
        "state": {k: v for k, v in state.items() if v},
        "repr": repr(optimizer),
    }


CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.01, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.7, "weight_decay": 0.02, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "betas": [0.8, 0.99], "eps": 1e-6, "amsgrad": True}),
    ("Adam", {"lr": 0.003, "weight_decay": 0.02, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "betas": [0.5, 0.9], "weight_decay": 0, "maximize": True}),
]
MORE_CASES = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.005, "momentum": 0.8, "centered": True, "eps": 1e-5}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.02, "initial_accumulator_value": 0.3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.05, "betas": [0.8, 0.95], "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.03, "betas": [0.8, 0.95], "weight_decay": 0.1, "momentum_decay": 0.01}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.03, "betas": [0.8, 0.95], "weight_decay": 0.1}),
]
LATEST_CASES = [
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": [0.3, 1.5], "step_sizes": [0.01, 0.12], "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.2, "lambd": 0.01, "alpha": 0.6, "t0": 2, "weight_decay": 0.1, "maximize": True}),
]
LBFGS_CASES = [
    {},
    {"lr": 0.3, "max_iter": 7, "history_size": 3},
    {"line_search_fn": "strong_wolfe"},
    {"lr": 0.7, "max_iter": 9, "max_eval": 14, "history_size": 2, "line_search_fn": "strong_wolfe"},
    {"lr": 5.0, "line_search_fn": "strong_wolfe", "tolerance_change": 1e-12},
]


def lbfgs(options, dtype, hard):
    """A bowl that is no square, and Rosenbrock's valley."""
    params = [torch.nn.Parameter(values(10 + i, shape, dtype)) for i, shape in enumerate(SHAPES)]
    optimizer = torch.optim.LBFGS(params, **options)
    losses = []

    def bowl():
        return sum((p - 0.25 * i).pow(2).mul(i + 1).sum() + p.pow(4).sum() for i, p in enumerate(params))

    def valley():
        x = torch.cat([p.reshape(-1) for p in params])
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def closure():
        optimizer.zero_grad()
        loss = valley() if hard else bowl()
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        optimizer.step(closure)
    record = optimizer.state_dict()["state"][0]
    return {
        "options": options,
        "dtype": str(dtype)[6:],
        "hard": hard,
        "losses": losses,
        "params": [p.tolist() for p in params],
        "evaluations": record["func_evals"],
        "iterations": record["n_iter"],
        "history": len(record["old_dirs"]),
    }


def sparse(name, options):
    table = torch.nn.Parameter(values(10, (6, 3), torch.float32))
    keywords = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    optimizer = getattr(torch.optim, name)([table], **keywords)
    for step in range(4):
        optimizer.zero_grad()
        rows = torch.tensor([step, 2, 2, 5 - step])
        weights = values(50 + step, (4, 3), torch.float32)
        (torch.nn.functional.embedding(rows, table, sparse=True) * weights).sum().backward()
        optimizer.step()
    return {"optimizer": name, "options": options, "table": table.tolist()}


SPARSE_CASES = [
    ("SparseAdam", {}),
    ("SparseAdam", {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-4, "maximize": True}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
]


def main():
    cases = [run(*case) for case in CASES]
    cases += [run(*CASES[i], dtype=torch.float64) for i in (1, 8, 12)]
    cases += [run(*CASES[i], dtype=torch.bfloat16) for i in (1, 7)]
    cases += [run(*CASES[i], late=True) for i in (1, 6, 7, 12)]
    cases += [run(*case) for case in MORE_CASES]
    cases += [run(*MORE_CASES[i], dtype=torch.float64) for i in (2, 4, 6, 8, 10, 12)]
    cases += [run(*MORE_CASES[i], dtype=torch.bfloat16) for i in (0, 3, 5, 7)]
    cases += [run(*MORE_CASES[i], late=True) for i in (2, 4, 6, 8, 10, 12)]
    cases += [run(*case) for case in LATEST_CASES]
    cases += [run(*LATEST_CASES[i], dtype=torch.float64) for i in (1, 3)]
    cases += [run(*LATEST_CASES[i], late=True) for i in (1, 3)]
    lines = [lbfgs(options, torch.float32, False) for options in LBFGS_CASES]
    lines += [lbfgs(options, torch.float64, hard) for options in LBFGS_CASES[2:] for hard in (False, True)]
    rows = [sparse(*case) for case in SPARSE_CASES]
    inputs = {
        "params": [values(10 + i, shape, torch.float32).tolist() for i, shape in enumerate(SHAPES)],
        "grads": [[values(100 * s + i, shape, torch.float32).tolist() for i, shape in enumerate(SHAPES)] for s in range(STEPS)],
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "optim.json")
    with open(path, "w") as file:
        json.dump({"torch": torch.__version__, "inputs": inputs, "cases": cases, "lbfgs": lines, "sparse": rows}, file, indent=None)
        file.write("\n")


main()
