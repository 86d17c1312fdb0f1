"""Trains a workload for 20 steps and prints the bits of every loss and hashes as JSON: trajectory.ts in Python.

  OMP_NUM_THREADS=1 python3 benchmarks/trajectory.py mlp|convnet|gpt|gpt_clip [processes]
"""
import hashlib
import json
import os
import struct
import sys

import torch
from models import workloads

STEPS = 20


def sha256(tensor):
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


def bits(tensor):
    return struct.pack(">f", tensor.item()).hex()


def run(rank, name, processes, path):
    workload = workloads[name]
    if processes > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=processes)
    torch.manual_seed(1234)
    net = workload.model()
    optimizer = workload.optimizer(net)
    named = list(net.named_parameters())
    params = [{"name": n, "sha256_init": sha256(p)} for n, p in named]
    model = torch.nn.parallel.DistributedDataParallel(net) if processes > 1 else net
    if rank == 1:
        torch.manual_seed(1235)
    steps, first = [], {}
    for step in range(STEPS):
        x, y = workload.batch()
        optimizer.zero_grad(set_to_none=True)
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), workload.clip) if workload.clip else None
        if step == 0:
            for entry, (_, p) in zip(params, named):
                entry["sha256_grad_step0"] = sha256(p.grad)
            first = {"x_sha256": sha256(x), "y_sha256": sha256(y), "logits_sha256": sha256(logits)}
        optimizer.step()
        entry = {"step": step, "loss": bits(loss)}
        if norm is not None:
            entry["grad_norm"] = bits(norm)
        steps.append({**entry, "x_sha256": sha256(x), "y_sha256": sha256(y)})
        if step in (0, STEPS - 1):
            for param, (_, p) in zip(params, named):
                param[f"sha256_after_step{step}"] = sha256(p)
    print(json.dumps({"rank": rank, "first_batch": first, "steps": steps, "params": params}), flush=True)


if __name__ == "__main__":
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if processes == 1:
        run(0, sys.argv[1], 1, None)
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            arguments = (sys.argv[1], processes, os.path.join(folder, "store"))
            torch.multiprocessing.start_processes(run, arguments, nprocs=processes, start_method="fork")
