"""A method of your own: a supervised contrastive loss across the two views, for many trials at once.

Every tensor has the lane axis first: L trials train side by side and must not touch each other.
"""

from avtune.lanes.modules import cosine, encoder, init_encoder
from avtune.methods import TRAINING_HYPERS, Hyper, Method


class CrossContrast(Method):
    """-log softmax(cos(z_a, z_v) / tau), averaged over the clips of the anchor's class, in both directions."""

    name = "cross_contrast"
    summary = "supervised contrastive loss across the two views, distance of pairs"
    source = "Khosla et al. 2020, across two views; a reading"
    hypers = (
        Hyper("tau", "float", 0.1, 0.02, 1.0, doc="temperature"),
        Hyper("w_pair", "float", 0.1, 0.01, 10.0, doc="weight of the distance of a clip's two embeddings"),
        Hyper("dropout", "float", 0.2, 0.0, 0.6, doc="dropout after each hidden layer"),
        Hyper("embedding_dim", "int", 64, 2, 4096, static=True, doc="width of the embeddings"),
        Hyper("hidden_dim", "int", 512, 8, 16384, static=True, doc="width of the hidden layers"),
        *TRAINING_HYPERS,
    )

    def init(self, generator):
        """The weights of one lane, and what training updates by itself (here: batch norm)."""
        params, buffers = {}, {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            made = init_encoder(generator, size, self.static["hidden_dim"], self.static["embedding_dim"])
            for into, tensors in zip((params, buffers), made, strict=True):
                into |= {f"{view}.{name}": value for name, value in tensors.items()}
        return params, buffers

    def embed(self, params, buffers, audio, visual):
        """Features [L, B, ...] to embeddings [L, B, D], without dropout."""
        return encoder(params, buffers, "audio.", audio, None), encoder(params, buffers, "visual.", visual, None)

    def loss(self, params, buffers, batch, hyper, progress):
        """Each term is [L]; a hyper-parameter that is not static is a tensor [L]."""
        dropout = batch.dropout(hyper["dropout"])
        z_a = encoder(params, buffers, "audio.", batch.audio, dropout)
        z_v = encoder(params, buffers, "visual.", batch.visual, dropout)
        logits = cosine(z_a, z_v) / hyper["tau"][:, None, None]
        same = (batch.labels[:, :, None] == batch.labels[:, None, :]).to(logits.dtype)
        share = same / same.sum(2, keepdim=True)
        likely = logits.log_softmax(2) + logits.log_softmax(1)
        contrast = -(share * likely).sum((1, 2)) / (2 * logits.shape[1])
        pair = (z_a - z_v).norm(dim=2).mean(1)
        return {"loss": contrast + hyper["w_pair"] * pair, "contrast": contrast, "pair": pair}
