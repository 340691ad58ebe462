"""A training function of your own, in plain PyTorch: a linear map of each view into a space of classes."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy


def train(config, data, report):
    audio, visual, labels = (
        torch.tensor(rows, device=data.device) for rows in (data.train.audio, data.train.visual, data.train.labels)
    )
    width = config["width"]
    maps = nn.ModuleList([nn.Linear(audio.shape[1], width), nn.Linear(visual.shape[1], width)]).to(data.device)
    head = nn.Linear(width, data.num_classes).to(data.device)
    optimizer = torch.optim.Adam([*maps.parameters(), *head.parameters()], lr=config["lr"])

    def embed(audio, visual):
        """NumPy features to embeddings on the CPU: avtune scores them, and needs nothing else of your model."""
        views = (torch.tensor(rows, device=data.device) for rows in (audio, visual))
        return tuple(one(view).cpu() for one, view in zip(maps, views, strict=True))

    for epoch in range(1, data.epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(labels)).to(data.device).split(config["batch_size"]):
            z_a, z_v = maps[0](audio[rows]), maps[1](visual[rows])
            loss = cross_entropy(head(z_a), labels[rows]) + cross_entropy(head(z_v), labels[rows])
            loss = loss + config["w_pair"] * (z_a - z_v).norm(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        if not report(epoch, data.scores(embed) | {"loss": total / len(labels)}):
            break
    return embed
