"""One measurement in a process of its own; prints a line of JSON: worker.ts in Python.

  worker.py operators CALLS
  worker.py steps WORKLOAD torch PROCESSES STEPS
"""
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from models import workloads


def operators():
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    images, kernel = torch.randn(1, 1, 6, 6), torch.randn(1, 1, 3, 3)
    scores, targets, index = torch.randn(4, 10), torch.randint(0, 10, (4,)), torch.arange(2)
    pair = [a, b]
    return {
        "add": lambda: a.add(b),
        "mul scalar": lambda: a.mul(2.5),
        "add_ in place": lambda: b.add_(a, alpha=1e-9),
        "matmul": lambda: a.matmul(b),
        "relu": lambda: a.relu(),
        "sum dim keepdim": lambda: a.sum(1, keepdim=True),
        "view": lambda: a.view(2, 8),
        "cat": lambda: torch.cat(pair, 0),
        "index select": lambda: a.index_select(0, index),
        "zeros": lambda: torch.zeros(4, 4),
        "cross entropy": lambda: F.cross_entropy(scores, targets),
        "conv2d": lambda: F.conv2d(images, kernel),
    }


def time_operators(calls):
    result = {}
    for name, body in operators().items():
        for _ in range(calls // 10):
            body()
        started = time.perf_counter_ns()
        for _ in range(calls):
            body()
        result[name] = (time.perf_counter_ns() - started) / calls
    print(json.dumps(result))


def time_steps(rank, name, processes, count, path):
    workload = workloads[name]
    if processes > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=processes)
    torch.manual_seed(1234)
    net = workload.model()
    optimizer = workload.optimizer(net)
    model = torch.nn.parallel.DistributedDataParallel(net) if processes > 1 else net
    batches = [workload.batch() for _ in range(8)]
    parameters = list(net.parameters())

    def step(i):
        x, y = batches[i % len(batches)]
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if workload.clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, workload.clip)
        optimizer.step()
        return loss.item()

    step(0)
    first_step_at = time.time() * 1000
    for i in range(1, -(-count // 5)):
        step(i)
    times = []
    for i in range(count):
        started = time.perf_counter()
        step(i)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    if rank == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"medianMs": times[len(times) // 2], "firstStepAt": first_step_at, "peakMb": peak}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "operators":
        time_operators(int(sys.argv[2]))
    else:
        _, _, name, _, processes, count = sys.argv
        processes, count = int(processes), int(count)
        rank = os.environ.get("BENCH_RANK")
        if processes == 1:
            time_steps(0, name, 1, count, None)
        elif rank is not None:
            time_steps(int(rank), name, processes, count, os.environ["BENCH_STORE"])
        else:
            # As Lightning Fabric starts them: the same command again for the other rank, this process being rank 0.
            import subprocess
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                store = os.path.join(folder, "store")
                command = [sys.executable, *sys.argv]
                others = [
                    subprocess.Popen(command, env={**os.environ, "BENCH_RANK": str(r), "BENCH_STORE": store})
                    for r in range(1, processes)
                ]
                time_steps(0, name, processes, count, store)
                for other in others:
                    other.wait()
