"""The three models that the parity tests and the benchmarks train, the same as in models.ts."""
import math
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.qkv, self.proj = nn.LayerNorm(128), nn.Linear(128, 384), nn.Linear(128, 128)
        self.ln2, self.fc, self.out = nn.LayerNorm(128), nn.Linear(128, 512), nn.Linear(512, 128)
        self.mask = torch.ones(64, 64, dtype=torch.bool).triu(1)

    def forward(self, x):
        q, k, v = (part.view(8, 64, 4, 32).transpose(1, 2) for part in self.qkv(self.ln1(x)).split(128, 2))
        scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(32))
        weights = scores.masked_fill(self.mask, float("-inf")).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).contiguous().view(8, 64, 128))
        return x + self.out(nn.functional.gelu(self.fc(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(65, 128), nn.Embedding(64, 128)
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.ln, self.head = nn.LayerNorm(128), nn.Linear(128, 65, bias=False)
        self.positions = torch.arange(64)

    def forward(self, tokens):
        x = self.tok(tokens) + self.pos(self.positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x)).view(-1, 65)


class Workload:
    def __init__(self, model, optimizer, batch, batch_size, clip=None):
        self.model, self.optimizer, self.batch, self.batch_size, self.clip = model, optimizer, batch, batch_size, clip


def gpt(clip):
    return Workload(
        GPT,
        lambda model: torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01),
        lambda: (torch.randint(0, 65, (8, 64)), torch.randint(0, 65, (512,))),
        8,
        clip,
    )


workloads = {
    "mlp": Workload(
        lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        lambda: (torch.randn(64, 784), torch.randint(0, 10, (64,))),
        64,
    ),
    "convnet": Workload(
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 10),
        ),
        lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
        lambda: (torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))),
        64,
    ),
    "gpt": gpt(1.0),
    "gpt_clip": gpt(0.1),
}
