"""Writes ../golden/nn-layers.json: what PyTorch's attention, recurrent and image layers compute from seed 1234.

Run with the Python of the LibTorch that the tests use: OMP_NUM_THREADS=1 python3 make-golden-layers.py
"""
import json
import os
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")


def numbers(tensor):
    return [float(v) for v in tensor.detach().double().flatten()]


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for item in value if item is not None for t in flat(item)]


def case(make, shapes, call=lambda module, *xs: module(*xs)):
    torch.manual_seed(1234)
    module = make()
    inputs = [torch.randn(*shape) for shape in shapes]
    # Drawn in float32, computed in float64: kernels for other processors then agree to far more digits than are compared.
    module.double()
    inputs = [x.double().requires_grad_() for x in inputs]
    outputs = flat(call(module, *inputs))
    sum(o.square().sum() for o in outputs).backward()
    return {
        "repr": repr(module),
        "keys": list(module.state_dict()),
        "parameters": [numbers(p) for p in module.parameters()],
        "shapes": [list(o.shape) for o in outputs],
        "outputs": [numbers(o) for o in outputs],
        "inputGrads": [numbers(x.grad) if x.grad is not None else None for x in inputs],
        "grads": [numbers(p.grad) if p.grad is not None else None for p in module.parameters()],
        "buffers": [numbers(b) for b in module.buffers()],
    }


causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
padding = torch.tensor([[False, False, True], [False, False, False]])
mask3 = (torch.arange(2 * 2 * 3 * 3).reshape(4, 3, 3) % 5).float() / 3

MHA = nn.MultiheadAttention
LAYER = nn.TransformerEncoderLayer
CASES = {
    "attention": case(lambda: MHA(4, 2), [(3, 2, 4)], lambda m, x: m(x, x, x)),
    "attention, batch first": case(lambda: MHA(4, 2, batch_first=True, bias=False), [(2, 3, 4)], lambda m, x: m(x, x, x, attn_mask=causal)),
    "attention across": case(
        lambda: MHA(4, 2, kdim=3, vdim=5), [(3, 2, 4), (6, 2, 3), (6, 2, 5)], lambda m, q, k, v: m(q, k, v, average_attn_weights=False)
    ),
    "attention of keys": case(lambda: MHA(4, 2), [(3, 2, 4), (5, 2, 4)], lambda m, q, k: m(q, k, k)),
    "attention with padding": case(
        lambda: MHA(4, 2, batch_first=True), [(2, 3, 4)], lambda m, x: m(x, x, x, key_padding_mask=padding, attn_mask=mask3)
    ),
    "attention with all": case(
        lambda: MHA(4, 2, add_bias_kv=True, add_zero_attn=True),
        [(3, 2, 4)],
        lambda m, x: m(x, x, x, attn_mask=causal, key_padding_mask=padding, need_weights=False),
    ),
    "attention without batches": case(lambda: MHA(4, 2), [(3, 4)], lambda m, x: m(x, x, x)),
    "encoder layer": case(lambda: LAYER(4, 2, 6, dropout=0.0), [(3, 2, 4)]),
    "encoder layer, norm first": case(
        lambda: LAYER(4, 2, 6, dropout=0.0, activation="gelu", norm_first=True, batch_first=True, layer_norm_eps=1e-3),
        [(2, 3, 4)],
        lambda m, x: m(x, src_mask=causal, src_key_padding_mask=padding),
    ),
    "encoder": case(
        lambda: nn.TransformerEncoder(LAYER(4, 2, 6, dropout=0.0), 2, norm=nn.LayerNorm(4)), [(3, 2, 4)], lambda m, x: m(x, mask=causal)
    ),
    "RNN": case(lambda: nn.RNN(3, 4), [(5, 2, 3)]),
    "RNN relu": case(lambda: nn.RNN(3, 2, 2, nonlinearity="relu", bias=False, batch_first=True), [(2, 5, 3), (2, 2, 2)]),
    "LSTM": case(lambda: nn.LSTM(3, 2), [(5, 2, 3)]),
    "LSTM with all": case(
        lambda: nn.LSTM(3, 3, 2, batch_first=True, bidirectional=True, proj_size=2),
        [(2, 4, 3), (4, 2, 2), (4, 2, 3)],
        lambda m, x, h, c: m(x, (h, c)),
    ),
    "LSTM without batches": case(lambda: nn.LSTM(3, 2), [(4, 3)]),
    "GRU": case(lambda: nn.GRU(3, 2, bidirectional=True), [(4, 2, 3)]),
    "GRU with a state": case(lambda: nn.GRU(3, 2, 2), [(4, 3), (2, 2)]),
    "RNNCell": case(lambda: nn.RNNCell(3, 2, nonlinearity="relu"), [(2, 3), (2, 2)]),
    "LSTMCell": case(lambda: nn.LSTMCell(3, 2), [(2, 3), (2, 2), (2, 2)], lambda m, x, h, c: m(x, (h, c))),
    "LSTMCell without batches": case(lambda: nn.LSTMCell(3, 2, bias=False), [(3,)]),
    "GRUCell": case(lambda: nn.GRUCell(3, 2), [(2, 3)]),
    "Unfold": case(lambda: nn.Unfold(2), [(1, 2, 3, 3)]),
    "Unfold with options": case(lambda: nn.Unfold((2, 3), dilation=(1, 2), padding=1, stride=(2, 1)), [(1, 1, 4, 5)]),
    "Fold": case(lambda: nn.Fold((3, 3), 2), [(1, 8, 4)]),
    "Fold with options": case(lambda: nn.Fold((4, 5), kernel_size=(2, 2), stride=2, padding=(0, 1)), [(2, 4, 6)]),
    "PixelShuffle": case(lambda: nn.PixelShuffle(2), [(1, 4, 2, 3)]),
    "PixelUnshuffle": case(lambda: nn.PixelUnshuffle(2), [(1, 1, 4, 2)]),
    "InstanceNorm1d": case(lambda: nn.InstanceNorm1d(2), [(2, 2, 4)]),
    "InstanceNorm2d": case(lambda: nn.InstanceNorm2d(2, affine=True, track_running_stats=True, eps=1e-3), [(2, 2, 2, 3)]),
    "InstanceNorm2d evaluated": case(lambda: nn.InstanceNorm2d(2, track_running_stats=True).eval(), [(2, 2, 2, 3)]),
    "InstanceNorm3d": case(lambda: nn.InstanceNorm3d(2, affine=True), [(2, 2, 2, 2)]),
    "Upsample": case(lambda: nn.Upsample(scale_factor=2), [(1, 1, 2, 2)]),
    "Upsample bilinear": case(lambda: nn.Upsample(size=(3, 4), mode="bilinear", align_corners=True), [(1, 1, 2, 2)]),
    "Upsample by factors": case(lambda: nn.Upsample(scale_factor=(2, 1.5), mode="bicubic"), [(1, 1, 2, 2)]),
}

signs = torch.tensor([1.0, -1.0, 1.0])
classes = torch.tensor([2, 0, 1])
several = torch.tensor([[1, 0, -1, 2], [3, -1, 0, 1], [0, 2, 3, -1]])
zeroone = (torch.arange(12).reshape(3, 4) % 3 == 0).double()
counts = (torch.arange(12).reshape(3, 4) % 4).double()
factors = torch.tensor([0.5, 1.0, 2.0, 3.0]).double()


DECODER = nn.TransformerDecoderLayer
pack, unpack = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence


def packed(m, x, *states, **options):
    batch_first = options.pop("batch_first", False)
    state = states if len(states) == 2 else states[0] if states else None
    output, last = m(pack(x, options.pop("lengths"), batch_first=batch_first, **options), state)
    return unpack(output, batch_first=batch_first, padding_value=0.5)[0], last


def pooled(m, x):
    """What was pooled, and put back."""
    values, places = m[0](x)
    return values, m[1](values, places)


def stacked(*layers):
    return nn.ModuleList(layers)


def seeded(m, x):
    torch.manual_seed(7)
    return m(x)


P = nn.utils.parametrizations

CASES |= {
    "spectral norm": case(lambda: P.spectral_norm(nn.Linear(3, 4)), [(2, 3)]),
    "spectral norm of a convolution": case(
        lambda: P.spectral_norm(nn.ConvTranspose2d(2, 3, 2, bias=False), n_power_iterations=2), [(1, 2, 3, 3)]
    ),
    "RNN packed": case(lambda: nn.RNN(3, 2), [(4, 3, 3)], lambda m, x: packed(m, x, lengths=[4, 2, 1])),
    "GRU packed": case(
        lambda: nn.GRU(3, 2, 2, bidirectional=True),
        [(3, 4, 3), (4, 3, 2)],
        lambda m, x, h: packed(m, x, h, lengths=torch.tensor([2, 4, 3]), batch_first=True, enforce_sorted=False),
    ),
    "LSTM packed": case(
        lambda: nn.LSTM(3, 3, proj_size=2),
        [(4, 3, 3), (1, 3, 2), (1, 3, 3)],
        lambda m, x, h, c: packed(m, x, h, c, lengths=[1, 4, 2], enforce_sorted=False),
    ),
    "LSTM packed, no state": case(lambda: nn.LSTM(2, 2, 2), [(3, 2, 2)], lambda m, x: packed(m, x, lengths=[3, 1])),
    "decoder layer": case(lambda: DECODER(4, 2, 6, dropout=0.0), [(3, 2, 4), (5, 2, 4)]),
    "decoder layer, norm first": case(
        lambda: DECODER(4, 2, 6, dropout=0.0, activation="gelu", norm_first=True, batch_first=True),
        [(2, 3, 4), (2, 3, 4)],
        lambda m, x, y: m(x, y, tgt_mask=causal, memory_mask=causal, tgt_key_padding_mask=padding, memory_key_padding_mask=padding),
    ),
    "decoder": case(
        lambda: nn.TransformerDecoder(DECODER(4, 2, 6, dropout=0.0), 2, norm=nn.LayerNorm(4)),
        [(3, 2, 4), (5, 2, 4)],
        lambda m, x, y: m(x, y, tgt_mask=causal),
    ),
    "Transformer": case(
        lambda: nn.Transformer(4, 2, 1, 2, 6, dropout=0.0, batch_first=True),
        [(2, 5, 4), (2, 3, 4)],
        lambda m, x, y: m(x, y, tgt_mask=causal, tgt_key_padding_mask=padding),
    ),
    "ConvTranspose3d": case(lambda: nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0), output_padding=(0, 1, 0)), [(1, 2, 2, 2, 2)]),
    "MaxPool3d": case(lambda: nn.MaxPool3d(2, stride=1, padding=(1, 0, 0)), [(1, 1, 2, 3, 3)]),
    "MaxUnpool1d": case(lambda: stacked(nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)), [(1, 2, 6)], pooled),
    "MaxUnpool2d": case(lambda: stacked(nn.MaxPool2d(2, 1, return_indices=True), nn.MaxUnpool2d(2, 1)), [(1, 1, 3, 4)], pooled),
    "MaxUnpool3d": case(lambda: stacked(nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2)), [(1, 1, 2, 4, 2)], pooled),
    "AvgPool3d": case(lambda: nn.AvgPool3d((2, 1, 2), padding=(1, 0, 0), divisor_override=3), [(1, 2, 2, 3, 4)]),
    "LPPool1d": case(lambda: nn.LPPool1d(3, 2, ceil_mode=True), [(1, 2, 5)], lambda m, x: m(x.abs())),
    "LPPool2d": case(lambda: nn.LPPool2d(2, (2, 3), stride=1), [(1, 1, 3, 4)]),
    "AdaptiveMaxPool1d": case(lambda: nn.AdaptiveMaxPool1d(2), [(1, 2, 5)]),
    "AdaptiveMaxPool2d": case(lambda: nn.AdaptiveMaxPool2d((2, None)), [(1, 1, 5, 3)]),
    "AdaptiveMaxPool3d": case(lambda: nn.AdaptiveMaxPool3d(2), [(1, 1, 3, 2, 4)]),
    "AdaptiveAvgPool3d": case(lambda: nn.AdaptiveAvgPool3d((1, 2, None)), [(1, 1, 3, 4, 2)]),
    "ReflectionPad1d": case(lambda: nn.ReflectionPad1d((2, 1)), [(1, 2, 4)]),
    "ReflectionPad2d": case(lambda: nn.ReflectionPad2d(1), [(1, 1, 3, 3)]),
    "ReflectionPad3d": case(lambda: nn.ReflectionPad3d(1), [(1, 1, 2, 2, 2)]),
    "ReplicationPad1d": case(lambda: nn.ReplicationPad1d((2, 1)), [(1, 2, 4)]),
    "ReplicationPad2d": case(lambda: nn.ReplicationPad2d((0, 1, 2, 0)), [(1, 1, 3, 3)]),
    "ReplicationPad3d": case(lambda: nn.ReplicationPad3d(1), [(1, 1, 2, 2, 2)]),
    "ConstantPad1d": case(lambda: nn.ConstantPad1d(2, 3.5), [(1, 2, 3)]),
    "ConstantPad2d": case(lambda: nn.ConstantPad2d((1, 0, -1, 2), 0.5), [(1, 1, 3, 2)]),
    "ConstantPad3d": case(lambda: nn.ConstantPad3d(1, 1.0), [(1, 1, 1, 2, 1)]),
    "ZeroPad2d": case(lambda: nn.ZeroPad2d((1, 0, 0, 2)), [(1, 1, 2, 2)]),
    "CosineSimilarity": case(lambda: nn.CosineSimilarity(dim=-1), [(2, 3), (2, 3)]),
    "PairwiseDistance": case(lambda: nn.PairwiseDistance(p=3.0, keepdim=True), [(2, 3), (2, 3)]),
    "LocalResponseNorm": case(lambda: nn.LocalResponseNorm(3, alpha=0.5, k=2.0), [(1, 4, 2, 3)]),
    "LocalResponseNorm of sequences": case(lambda: nn.LocalResponseNorm(2), [(1, 4, 3)]),
    # PyTorch 1.13 has no derivative of its operator.
    "ChannelShuffle": case(
        lambda: nn.ChannelShuffle(2), [(1, 4, 2, 1)], lambda m, x: x.view(1, 2, 2, 2, 1).transpose(1, 2).reshape(1, 4, 2, 1)
    ),
    "RReLU": case(lambda: nn.RReLU().eval(), [(2, 3)]),
    "Softmax2d": case(lambda: nn.Softmax2d(), [(1, 3, 2, 2)]),
    "Dropout1d": case(lambda: nn.Dropout1d(), [(2, 4, 3)], seeded),
    "Dropout3d": case(lambda: nn.Dropout3d(0.4), [(1, 4, 1, 2, 2)], seeded),
    "AlphaDropout": case(lambda: nn.AlphaDropout(0.3), [(3, 4)], seeded),
    "FeatureAlphaDropout": case(lambda: nn.FeatureAlphaDropout(), [(2, 3, 2)], seeded),
    "EmbeddingBag": case(lambda: nn.EmbeddingBag(5, 3, padding_idx=0), [], lambda m: m(torch.tensor([[0, 1, 2], [4, 4, 1]]))),
    "EmbeddingBag sums": case(
        lambda: nn.EmbeddingBag(5, 3, mode="sum"),
        [(4,)],
        lambda m, w: m(torch.tensor([1, 3, 3, 0]), torch.tensor([0, 1, 3]), per_sample_weights=w),
    ),
    "EmbeddingBag max": case(
        lambda: nn.EmbeddingBag(5, 3, mode="max", include_last_offset=True),
        [],
        lambda m: m(torch.tensor([1, 3, 3, 0]), torch.tensor([0, 3, 4])),
    ),
    "MarginRankingLoss": case(lambda: nn.MarginRankingLoss(0.3), [(3,), (3,)], lambda m, a, b: m(a, b, signs)),
    "HingeEmbeddingLoss": case(lambda: nn.HingeEmbeddingLoss(0.7, reduction="none"), [(3,)], lambda m, a: m(a, signs)),
    "CosineEmbeddingLoss": case(lambda: nn.CosineEmbeddingLoss(0.1), [(3, 4), (3, 4)], lambda m, a, b: m(a, b, signs)),
    "TripletMarginLoss": case(lambda: nn.TripletMarginLoss(2.0, p=1.5, swap=True), [(3, 4), (3, 4), (3, 4)]),
    "TripletMarginWithDistanceLoss": case(
        lambda: nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().amax(1), swap=True, reduction="sum"),
        [(3, 4), (3, 4), (3, 4)],
    ),
    "SoftMarginLoss": case(lambda: nn.SoftMarginLoss(), [(3,)], lambda m, a: m(a, signs)),
    "MultiMarginLoss": case(lambda: nn.MultiMarginLoss(p=2, margin=0.5, weight=factors), [(3, 4)], lambda m, a: m(a, classes)),
    "MultiLabelMarginLoss": case(lambda: nn.MultiLabelMarginLoss(reduction="sum"), [(3, 4)], lambda m, a: m(a, several)),
    "MultiLabelSoftMarginLoss": case(lambda: nn.MultiLabelSoftMarginLoss(weight=factors), [(3, 4)], lambda m, a: m(a, zeroone)),
    "PoissonNLLLoss": case(lambda: nn.PoissonNLLLoss(full=True), [(3, 4)], lambda m, a: m(a, counts)),
    "PoissonNLLLoss of rates": case(lambda: nn.PoissonNLLLoss(log_input=False, reduction="none"), [(3, 4)], lambda m, a: m(a.exp(), counts)),
    "GaussianNLLLoss": case(lambda: nn.GaussianNLLLoss(full=True), [(3, 4), (3, 4), (3,)], lambda m, a, b, v: m(a, b, v.exp())),
    "CTCLoss": case(
        lambda: nn.CTCLoss(blank=2),
        [(5, 2, 4)],
        lambda m, x: m(x.log_softmax(2), torch.tensor([[0, 1, 3], [3, 3, 0]]), torch.tensor([5, 4]), torch.tensor([3, 2])),
    ),
    "CTCLoss, lists": case(
        lambda: nn.CTCLoss(reduction="sum", zero_infinity=True),
        [(3, 2, 3)],
        lambda m, x: m(x.log_softmax(2), torch.tensor([1, 1, 2]), (3, 3), (2, 1)),
    ),
}

probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]]).double()

CASES |= {
    "Bilinear": case(lambda: nn.Bilinear(2, 3, 2), [(4, 2), (4, 3)]),
    "Conv3d": case(lambda: nn.Conv3d(2, 2, (1, 2, 2), stride=(1, 2, 1), padding=(1, 0, 1), groups=2), [(1, 2, 2, 3, 2)]),
    "Conv3d circular": case(lambda: nn.Conv3d(1, 2, 2, padding=1, padding_mode="circular", bias=False), [(1, 1, 2, 2, 2)]),
    "BatchNorm3d": case(lambda: nn.BatchNorm3d(2, momentum=0.3), [(2, 2, 1, 2, 2)]),
    "AvgPool1d": case(lambda: nn.AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False), [(1, 2, 6)]),
    "AdaptiveAvgPool1d": case(lambda: nn.AdaptiveAvgPool1d(3), [(1, 2, 5)]),
    "MaxPool1d": case(lambda: nn.MaxPool1d(3, 2, padding=1), [(1, 2, 6)]),
    "Dropout2d": case(lambda: nn.Dropout2d(0.4), [(2, 4, 1, 2)], seeded),
    "Hardshrink": case(lambda: nn.Hardshrink(0.3), [(3, 4)]),
    "Softshrink": case(lambda: nn.Softshrink(0.3), [(3, 4)]),
    "Tanhshrink": case(lambda: nn.Tanhshrink(), [(3, 4)]),
    "Hardsigmoid": case(lambda: nn.Hardsigmoid(), [(3, 4)], lambda m, x: m(x * 3)),
    "Threshold": case(lambda: nn.Threshold(0.1, 20), [(3, 4)]),
    "Softmin": case(lambda: nn.Softmin(dim=1), [(3, 4)]),
    "CrossEntropyLoss": case(
        lambda: nn.CrossEntropyLoss(weight=factors.float(), ignore_index=0, label_smoothing=0.1), [(3, 4)], lambda m, a: m(a, classes)
    ),
    "NLLLoss": case(
        lambda: nn.NLLLoss(weight=factors.float(), reduction="sum"), [(3, 4)], lambda m, a: m(a.log_softmax(1), classes)
    ),
    "MSELoss": case(lambda: nn.MSELoss(), [(3, 4), (3, 4)]),
    "L1Loss": case(lambda: nn.L1Loss(reduction="sum"), [(3, 4), (3, 4)]),
    "SmoothL1Loss": case(lambda: nn.SmoothL1Loss(beta=0.5), [(3, 4), (3, 4)]),
    "HuberLoss": case(lambda: nn.HuberLoss(delta=0.7, reduction="none"), [(3, 4), (3, 4)]),
    "BCELoss": case(lambda: nn.BCELoss(weight=factors.float()), [(3, 4)], lambda m, a: m(a.sigmoid(), zeroone)),
    "BCEWithLogitsLoss": case(
        lambda: nn.BCEWithLogitsLoss(weight=factors.float(), pos_weight=torch.tensor([3.0])), [(3, 4)], lambda m, a: m(a, zeroone)
    ),
    "KLDivLoss": case(lambda: nn.KLDivLoss(reduction="batchmean"), [(3, 4)], lambda m, a: m(a.log_softmax(1), probabilities)),
    "KLDivLoss of logarithms": case(
        lambda: nn.KLDivLoss(reduction="sum", log_target=True), [(3, 4)], lambda m, a: m(a.log_softmax(1), probabilities.log())
    ),
}

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "nn-layers.json")
with open(path, "w") as file:
    json.dump({"torch": torch.__version__, "cases": CASES}, file)
    file.write("\n")
