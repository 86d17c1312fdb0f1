# Writes printing.json: tensors and how PyTorch prints them. Run with a Python that has torch 1.13:
#   python3 packages/torch/test/golden/printing.py [number of random cases] > packages/torch/test/golden/printing.json
import json
import math
import random
import sys

import torch

random.seed(7)
cases = []


def number(x):
    if isinstance(x, complex):
        return [number(x.real), number(x.imag)]
    if isinstance(x, float) and not math.isfinite(x):
        return "nan" if math.isnan(x) else ("inf" if x > 0 else "-inf")
    if isinstance(x, int) and not isinstance(x, bool) and abs(x) > 2**53 - 1:
        return str(x)
    return x


def case(tensor, **options):
    torch.set_printoptions(profile="default")
    if options:
        torch.set_printoptions(**options)
    cases.append(
        {
            "dtype": str(tensor.dtype)[len("torch.") :],
            "shape": list(tensor.shape),
            "values": [number(x) for x in tensor.detach().reshape(-1).tolist()],
            "options": options,
            "requiresGrad": tensor.requires_grad,
            "text": str(tensor),
        }
    )


inf, nan = math.inf, math.nan
case(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
case(torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True))
case(torch.tensor(3.5))
case(torch.tensor(-0.0))
case(torch.tensor(True))
case(torch.tensor([]))
case(torch.zeros(0, 3))
case(torch.zeros(2, 0, dtype=torch.int32))
case(torch.zeros(0, dtype=torch.int64))
case(torch.tensor([nan, 1.0, inf, -inf]))
case(torch.tensor([nan, inf]))
case(torch.tensor([nan, 1.5, -inf]))
case(torch.tensor([0.0, 0.0]))
case(torch.tensor([0.03125, 0.09375, -0.03125, 1.0]))
case(torch.tensor([100005.0, 1.0, 100015.0]))
case(torch.tensor([1e-5, 1.0]))
case(torch.tensor([1e10, 1.5]))
case(torch.tensor([1e38, -1e-38, nan]))
case(torch.tensor([123456789.0, 1e-3]))
case(torch.tensor([2.0**60, 2.0**61], dtype=torch.float64))
case(torch.tensor([1e25, 3e25], dtype=torch.float64), sci_mode=False)
case(torch.tensor([0.5, 1.5, 2.5]), precision=0)
case(torch.tensor([0.12345, 100.5]), precision=2)
case(torch.tensor([0.12345, 100.5]), sci_mode=True)
case(torch.tensor([1.0, 100000.0]), sci_mode=False)
case(torch.tensor([1, -200, 30]))
case(torch.tensor([2**60, -1]))
case(torch.tensor([[True, False], [False, False]]))
case(torch.tensor([1, 2, 255], dtype=torch.uint8))
case(torch.tensor([1, -2], dtype=torch.int8))
case(torch.tensor([1.5, 2.25], dtype=torch.float64))
case(torch.tensor([1.1, 65504.0], dtype=torch.float16))
case(torch.tensor([1.1, 3.0], dtype=torch.bfloat16))
case(torch.tensor([1.5 - 2j, -0.25 + 1j]))
case(torch.tensor([[1 + 0j, -3 - 4j]], dtype=torch.complex128))
case(torch.tensor(complex(nan, inf)))
case(torch.tensor(2 - 1j))
case(torch.arange(1001))
case(torch.arange(2000.0).reshape(40, 50))
case(torch.arange(1200).reshape(2, 3, 200))
case(torch.arange(1331).reshape(11, 11, 11) % 5 == 0)
case(torch.arange(40))
case(torch.arange(40.0) / 7)
case(torch.arange(24).reshape(2, 3, 4))
case(torch.arange(16.0).reshape(2, 2, 2, 2))
case(torch.arange(30), threshold=10, edgeitems=2)
case(torch.arange(30.0).reshape(5, 6), profile="short")
case(torch.arange(1100), profile="full")
case(torch.arange(60), linewidth=40)
case(torch.arange(60.0, dtype=torch.float64, requires_grad=True) * 0 + 1)
cases.pop()
case((torch.arange(19.0, dtype=torch.float64) / 3).requires_grad_())
case((torch.arange(16.0, dtype=torch.float64) / 3).requires_grad_())


def random_case():
    dtype = random.choice([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.complex64])
    shape = [random.randint(1, 4) for _ in range(random.randint(0, 3))]
    scale = 10.0 ** random.randint(-6, 9)
    if dtype == torch.int64:
        tensor = torch.tensor([random.randint(-1000, 1000) for _ in range(math.prod(shape))]).reshape(shape)
    else:
        tensor = torch.tensor([random.gauss(0, 1) * random.choice([scale, 1.0, scale]) for _ in range(math.prod(shape))])
        if random.random() < 0.4:
            tensor = tensor.round()
        if random.random() < 0.4:
            tensor = (tensor * 32).round() / 32
        if random.random() < 0.2:
            tensor[0] = random.choice([nan, inf, 0.0])
        if dtype == torch.complex64:
            tensor = torch.complex(tensor, tensor.flip(0) * 3)
        tensor = tensor.to(dtype).reshape(shape)
    options = {}
    if random.random() < 0.3:
        options = random.choice([{"precision": 1}, {"precision": 8}, {"sci_mode": True}, {"sci_mode": False}, {"linewidth": 30}])
    case(tensor, **options)


for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 60):
    random_case()

print("[")
print(",\n".join(json.dumps(c) for c in cases))
print("]")
