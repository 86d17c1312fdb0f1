"""Writes python-values.ts: what PyTorch computes for the cases of layers.test.ts, functional.test.ts and init.test.ts.

    OMP_NUM_THREADS=1 python3 python-values.py > python-values.ts
"""
import json
import warnings

import torch
from torch import nn
from torch.nn import functional as F

warnings.simplefilter("ignore")


def numbers(tensor):
    return [float(v) for v in tensor.detach().double().flatten()]


def layer(make, *shape, make_input=torch.randn):
    torch.manual_seed(1234)
    module = make()
    x = make_input(*shape)
    if x.is_floating_point():
        x.requires_grad_()
    y = module(x)
    y.square().sum().backward()
    return {
        "repr": repr(module),
        "parameters": [numbers(p) for p in module.parameters()],
        "output": numbers(y),
        "inputGrad": numbers(x.grad) if x.grad is not None else [],
        "grads": [numbers(p.grad) for p in module.parameters()],
        "state": {k: numbers(v) for k, v in module.state_dict().items() if k not in dict(module.named_parameters())},
    }


def indices(*shape):
    return torch.arange(shape[0]).remainder(3)


layers = {
    "Linear": layer(lambda: nn.Linear(3, 2), 2, 3),
    "Linear without bias": layer(lambda: nn.Linear(3, 2, bias=False), 2, 3),
    "Conv1d": layer(lambda: nn.Conv1d(2, 2, 3, padding=1, stride=2), 1, 2, 5),
    "Conv2d": layer(lambda: nn.Conv2d(1, 2, 3, padding=1), 1, 1, 3, 3),
    "Conv2d same, dilated": layer(lambda: nn.Conv2d(2, 2, 2, padding="same", dilation=2, groups=2, bias=False), 1, 2, 3, 3),
    "Conv2d reflect": layer(lambda: nn.Conv2d(1, 1, (3, 2), padding=(1, 0), padding_mode="reflect"), 1, 1, 3, 3),
    "ConvTranspose1d": layer(lambda: nn.ConvTranspose1d(2, 1, 3, stride=2), 1, 2, 3),
    "ConvTranspose2d": layer(lambda: nn.ConvTranspose2d(1, 1, 2, stride=2, output_padding=1), 1, 1, 2, 2),
    "Embedding": layer(lambda: nn.Embedding(3, 2, padding_idx=1), 4, make_input=indices),
    "LayerNorm": layer(lambda: nn.LayerNorm(4), 2, 4),
    "LayerNorm plain": layer(lambda: nn.LayerNorm([2, 2], eps=1e-3, elementwise_affine=False), 2, 2, 2),
    "GroupNorm": layer(lambda: nn.GroupNorm(2, 4), 1, 4, 3),
    "BatchNorm1d": layer(lambda: nn.BatchNorm1d(3), 4, 3),
    "BatchNorm2d": layer(lambda: nn.BatchNorm2d(2, momentum=None), 2, 2, 2, 2),
    "BatchNorm2d plain": layer(lambda: nn.BatchNorm2d(2, affine=False, track_running_stats=False), 2, 2, 2, 2),
    "Dropout": layer(lambda: nn.Dropout(0.25), 3, 4),
    "MaxPool2d": layer(lambda: nn.MaxPool2d(2), 1, 1, 4, 4),
    "MaxPool2d with options": layer(lambda: nn.MaxPool2d((3, 2), stride=1, padding=(1, 0), ceil_mode=True), 1, 1, 3, 3),
    "AvgPool2d": layer(lambda: nn.AvgPool2d(2, stride=1), 1, 1, 3, 3),
    "AdaptiveAvgPool2d": layer(lambda: nn.AdaptiveAvgPool2d((1, None)), 1, 1, 4, 3),
    "Flatten": layer(lambda: nn.Flatten(), 1, 2, 2),
    "Unflatten": layer(lambda: nn.Unflatten(1, (2, 2)), 1, 4),
    "Identity": layer(lambda: nn.Identity(), 2),
    "ReLU": layer(lambda: nn.ReLU(), 6),
    "ReLU6": layer(lambda: nn.ReLU6(), 6),
    "LeakyReLU": layer(lambda: nn.LeakyReLU(0.2), 6),
    "GELU": layer(lambda: nn.GELU(), 6),
    "GELU tanh": layer(lambda: nn.GELU(approximate="tanh"), 6),
    "SiLU": layer(lambda: nn.SiLU(), 6),
    "Tanh": layer(lambda: nn.Tanh(), 6),
    "Sigmoid": layer(lambda: nn.Sigmoid(), 6),
    "Softmax": layer(lambda: nn.Softmax(dim=1), 2, 3),
    "LogSoftmax": layer(lambda: nn.LogSoftmax(dim=-1), 2, 3),
    "ELU": layer(lambda: nn.ELU(), 6),
    "SELU": layer(lambda: nn.SELU(), 6),
    "CELU": layer(lambda: nn.CELU(2.0), 6),
    "Mish": layer(lambda: nn.Mish(), 6),
    "Hardtanh": layer(lambda: nn.Hardtanh(), 6),
    "Hardswish": layer(lambda: nn.Hardswish(), 6),
    "Softplus": layer(lambda: nn.Softplus(), 6),
    "Softsign": layer(lambda: nn.Softsign(), 6),
    "LogSigmoid": layer(lambda: nn.LogSigmoid(), 6),
    "GLU": layer(lambda: nn.GLU(), 2, 4),
    "PReLU": layer(lambda: nn.PReLU(2), 2, 2),
}


def loss(call, integer=False, positive=False):
    torch.manual_seed(1234)
    x = torch.randn(3, 4)
    if positive:
        x = x.sigmoid()
    x.requires_grad_()
    target = torch.tensor([1, 3, 0]) if integer else torch.rand(3, 4)
    value = call(x, target)
    value.sum().backward()
    return {"value": numbers(value), "grad": numbers(x.grad)}


weight4 = torch.tensor([0.5, 1.0, 2.0, 0.25])
losses = {
    "crossEntropy": loss(F.cross_entropy, integer=True),
    "crossEntropy with options": loss(
        lambda x, t: F.cross_entropy(x, t, weight=weight4, reduction="sum", ignore_index=3, label_smoothing=0.1), integer=True
    ),
    "crossEntropy of probabilities": loss(F.cross_entropy),
    "nllLoss": loss(lambda x, t: F.nll_loss(F.log_softmax(x, 1), t, reduction="none"), integer=True),
    "mseLoss": loss(F.mse_loss),
    "l1Loss": loss(lambda x, t: F.l1_loss(x, t, reduction="sum")),
    "smoothL1Loss": loss(lambda x, t: F.smooth_l1_loss(x, t, beta=0.5)),
    "huberLoss": loss(lambda x, t: F.huber_loss(x, t, delta=0.5)),
    "binaryCrossEntropy": loss(lambda x, t: F.binary_cross_entropy(x, t, weight=weight4), positive=True),
    "binaryCrossEntropyWithLogits": loss(lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=weight4)),
    "klDiv": loss(lambda x, t: F.kl_div(F.log_softmax(x, 1), t, reduction="batchmean")),
}


def function(call, *shape):
    torch.manual_seed(1234)
    return numbers(call(torch.randn(*shape)))


GRID = torch.linspace(-1.2, 1.1, 8).view(1, 2, 2, 2)
functions = {
    "pad constant": function(lambda x: F.pad(x, (1, 0, 0, 1), value=2.0), 2, 2),
    "pad reflect": function(lambda x: F.pad(x, (1, 1), mode="reflect"), 1, 2, 3),
    "pad replicate": function(lambda x: F.pad(x, (1, 2, 1, 0), mode="replicate"), 1, 1, 2, 2),
    "pad circular": function(lambda x: F.pad(x, (1, 1), mode="circular"), 1, 1, 3),
    "normalize": function(lambda x: F.normalize(x), 2, 3),
    "normalize p 1": function(lambda x: F.normalize(x, p=1.0, dim=0), 2, 3),
    "cosineSimilarity": function(lambda x: F.cosine_similarity(x[:2], x[2:]), 4, 3),
    "pairwiseDistance": function(lambda x: F.pairwise_distance(x[:2], x[2:]), 4, 3),
    "interpolate nearest": function(lambda x: F.interpolate(x, scale_factor=2), 1, 1, 2, 2),
    "interpolate bilinear": function(lambda x: F.interpolate(x, size=(3, 4), mode="bilinear"), 1, 1, 2, 2),
    "interpolate bicubic": function(lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True), 1, 1, 2, 2),
    "interpolate linear": function(lambda x: F.interpolate(x, size=5, mode="linear"), 1, 1, 3),
    "gridSample": function(lambda x: F.grid_sample(x, GRID, align_corners=False), 1, 2, 3, 3),
    "gridSample with options": function(lambda x: F.grid_sample(x, GRID, mode="bicubic", padding_mode="reflection", align_corners=True), 1, 2, 3, 3),
    "gridSample nearest": function(lambda x: F.grid_sample(x, GRID * 2, mode="nearest", padding_mode="border", align_corners=False), 1, 1, 2, 3),
    "affineGrid": function(lambda x: F.affine_grid(x, (1, 1, 2, 3), align_corners=False), 1, 2, 3),
    "affineGrid of volumes": function(lambda x: F.affine_grid(x, (1, 1, 2, 1, 2), align_corners=True), 1, 3, 4),
    "gumbelSoftmax": function(lambda x: F.gumbel_softmax(x, tau=0.5), 2, 4),
    "gumbelSoftmax hard": function(lambda x: F.gumbel_softmax(x, hard=True, dim=0), 3, 2),
    "interpolate area": function(lambda x: F.interpolate(x, scale_factor=0.5, mode="area"), 1, 1, 4, 4),
    "attention": function(lambda x: (x @ x.transpose(-2, -1) / 2.0).softmax(-1) @ x, 2, 3, 4),
    "attention causal": function(
        lambda x: (x @ x.transpose(-2, -1) / 2.0).masked_fill(~torch.ones(3, 3).tril().bool(), float("-inf")).softmax(-1) @ x, 2, 3, 4
    ),
}


def init(call, *shape):
    torch.manual_seed(1234)
    return numbers(call(torch.empty(*shape)))


inits = {
    "uniform_": init(lambda t: nn.init.uniform_(t, -1, 2), 5),
    "normal_": init(lambda t: nn.init.normal_(t, 1, 0.5), 20),
    "truncNormal_": init(lambda t: nn.init.trunc_normal_(t), 8),
    "truncNormal_ with options": init(lambda t: nn.init.trunc_normal_(t, mean=0.1, std=0.02, a=-0.03, b=0.13), 8),
    "constant_": init(lambda t: nn.init.constant_(t, 0.3), 2),
    "ones_": init(nn.init.ones_, 2),
    "zeros_": init(nn.init.zeros_, 2),
    "eye_": init(nn.init.eye_, 2, 3),
    "dirac_": init(lambda t: nn.init.dirac_(t, 2), 4, 2, 3),
    "xavierUniform_": init(lambda t: nn.init.xavier_uniform_(t, nn.init.calculate_gain("relu")), 3, 4),
    "xavierNormal_": init(nn.init.xavier_normal_, 3, 4),
    "kaimingUniform_": init(lambda t: nn.init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"), 2, 2, 3),
    "kaimingNormal_": init(nn.init.kaiming_normal_, 3, 4),
    "orthogonal_": init(lambda t: nn.init.orthogonal_(t, 2), 3, 2),
    "orthogonal_ wide": init(nn.init.orthogonal_, 2, 2, 2),
}


def clipped(norm_type, max_norm):
    torch.manual_seed(1234)
    parameters = [torch.zeros(n, requires_grad=True) for n in (3, 5)]
    for p in parameters:
        p.grad = torch.randn(p.shape)
    total = nn.utils.clip_grad_norm_(parameters, max_norm, norm_type=norm_type)
    return {"total": numbers(total), "grads": [numbers(p.grad) for p in parameters]}


clips = {"2": clipped(2.0, 1.0), "1": clipped(1.0, 0.5), "Infinity": clipped(float("inf"), 0.7), "large": clipped(2.0, 100.0)}

print("// Generated by python-values.py with PyTorch " + ".".join(torch.__version__.split(".")[:2]) + ", one thread. Do not edit.")
print("/* biome-ignore-all format: generated */")
print()
for name, type_, value in (
    ("layers", "Record<string, LayerValues>", layers),
    ("losses", "Record<string, { value: number[]; grad: number[] }>", losses),
    ("functions", "Record<string, number[]>", functions),
    ("inits", "Record<string, number[]>", inits),
    ("clips", "Record<string, { total: number[]; grads: number[][] }>", clips),
):
    if name == "layers":
        print("/** One layer: its text, parameters, output for a random input, and gradients of the output's squares. */")
        print("export interface LayerValues {")
        for key in ("repr: string", "parameters: number[][]", "output: number[]", "inputGrad: number[]", "grads: number[][]"):
            print(f"  {key};")
        print("  state: Record<string, number[]>;\n}\n")
    print(f"export const {name}: {type_} = {{")
    for key, item in value.items():
        print(f"  {json.dumps(key)}: {json.dumps(item)},")
    print("};\n")
