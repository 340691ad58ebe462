"""What methods have in common that train one encoder a view and nothing else in between."""

from __future__ import annotations

import torch
from torch import Tensor

from avtune.lanes.modules import Tensors, encoder, init_encoder
from avtune.methods._base import Batch, Method


class TwoEncoders(Method):
    """One encoder a view, as `psd` has them; embeddings are its outputs. A subclass adds its loss, and may add
    parameters to those of `init`."""

    def init(self, generator: torch.Generator) -> tuple[Tensors, Tensors]:
        hidden, width = int(self.static["hidden_dim"]), int(self.static["embedding_dim"])
        params: Tensors = {}
        buffers: Tensors = {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            weights, statistics = init_encoder(generator, size, hidden, width, self.style)
            params |= {f"{view}.{name}": value for name, value in weights.items()}
            buffers |= {f"{view}.{name}": value for name, value in statistics.items()}
        return params, buffers

    def embed(self, params: Tensors, buffers: Tensors, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return encoder(params, buffers, "audio.", audio, None, self.style), encoder(
            params, buffers, "visual.", visual, None, self.style
        )

    def trained(self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors) -> tuple[Tensor, Tensor]:
        """The embeddings of a batch in training, with dropout: two tensors [L, B, D]."""
        dropout = batch.dropout(hyper["dropout"])
        return (
            encoder(params, buffers, "audio.", batch.audio, dropout, self.style),
            encoder(params, buffers, "visual.", batch.visual, dropout, self.style),
        )
