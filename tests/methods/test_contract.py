"""What `--method` is asked for before a search starts: every way to break the contract, in words; no right method is
refused."""

import pytest
import torch

from avtune.lanes.modules import cosine
from avtune.methods import TRAINING_HYPERS, ClosedForm, Hyper, Method, check_config
from avtune.methods._contract import broken

DIMS = (6, 9, 3)
WIDTH = 4


class Linear(Method):
    """A linear map of each view; right as it stands, and the base of the wrong ones."""

    name, summary, source = "linear", "a linear map of each view", "nobody"
    hypers = (Hyper("tau", "float", 0.5, 0.1, 2.0, doc="temperature"), *TRAINING_HYPERS)

    def init(self, generator):
        params = {
            view: torch.empty(dim, WIDTH).normal_(generator=generator)
            for view, dim in (("audio", self.audio_dim), ("visual", self.visual_dim))
        }
        return params, {"seen": torch.zeros(1)}

    def embed(self, params, buffers, audio, visual):
        return torch.bmm(audio, params["audio"]), torch.bmm(visual, params["visual"])

    def loss(self, params, buffers, batch, hyper, progress):
        z_a, z_v = self.embed(params, buffers, batch.audio, batch.visual)
        likely = (cosine(z_a, z_v) / hyper["tau"][:, None, None]).log_softmax(2)
        buffers["seen"] += 1
        return {"loss": -likely.diagonal(dim1=1, dim2=2).mean(1)}


def verdict(kind, rows=16):
    return broken(kind, check_config(kind, {}), DIMS, rows)


def with_loss(change):
    """A method whose `loss` is what `change(right, self, params, buffers, batch, hyper, progress)` returns."""

    class Wrong(Linear):
        def loss(self, params, buffers, batch, hyper, progress):
            right = Linear.loss(self, params, buffers, batch, hyper, progress)["loss"]
            return change(right, self, params, buffers, batch, hyper, progress)

    return Wrong


def with_init(make):
    class Wrong(Linear):
        def init(self, generator):
            return make(*Linear.init(self, generator), generator)

    return Wrong


def with_embed(make):
    class Wrong(Linear):
        def embed(self, params, buffers, audio, visual):
            return make(*Linear.embed(self, params, buffers, audio, visual))

        def loss(self, params, buffers, batch, hyper, progress):
            right = Linear(self.static, *DIMS)
            return right.loss(params, buffers, batch, hyper, progress)

    return Wrong


def test_a_right_method_passes():
    assert verdict(Linear) is None


def changed_audio(batch, right):
    batch.audio.mul_(2)
    return {"loss": right}


def changed_hyper(hyper, right):
    hyper["tau"] += 1
    return {"loss": right}


def new_buffer(buffers, right):
    buffers["more"] = torch.zeros(2)
    return {"loss": right}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda right, *_: {"loss": right.mean()}, "'loss'; it must be of shape [2], one value for each of the L = 2"),
        (lambda right, *_: {"loss": right, "part": right.sum()}, "for 'part'; it must be of shape [2]"),
        (lambda right, *_: {"loss": right, "part": 3.0}, "loss gives a float for 'part'"),
        (lambda right, *_: {"total": right}, "loss returns 'total' and no 'loss'"),
        (lambda right, *_: right, "loss returns a tensor of shape [2]"),
        (lambda right, *_: None, "loss returns nothing; it must return a dict with 'loss'"),
        (lambda right, *_: {"loss": right.detach()}, "'loss' has no gradient"),
        (lambda right, *_: {"loss": right * float("nan")}, "the loss is not finite"),
        (lambda right, *_: {"loss": right - right.mean()}, "the loss of a lane depends on the clips, weights or"),
        (lambda right, *_: {"loss": right * right.detach().mean()}, "of other lanes; keep the lane axis apart"),
        (lambda right, *_: {"loss": right, "part": right.mean().expand(2)}, "the term 'part' of a lane depends"),
        (lambda right, *_: {"loss": right * len(right)}, "the loss of a lane is not what the lane has alone"),
        (lambda right, self, params, buffers, batch, *_: changed_audio(batch, right), "changes batch.audio in place"),
        (
            lambda right, self, p, b, batch, hyper, progress: changed_hyper(hyper, right),
            "changes hyper['tau'] in place",
        ),
        (lambda right, self, params, buffers, *_: new_buffer(buffers, right), "adds, removes or reshapes buffers"),
        (lambda right, *_: 1 / 0, "loss raises ZeroDivisionError: division by zero (test_contract.py, line "),
        (lambda right, *_: exit(3), "loss raises SystemExit: 3"),
    ],
)
def test_a_wrong_loss_is_said_in_words(change, said):
    assert said in verdict(with_loss(change))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda params, buffers, generator: params, "init returns a dict; it must return two dicts"),
        (lambda params, buffers, generator: None, "init returns nothing"),
        (lambda params, buffers, generator: ({**params, "n": 3.0}, buffers), "init gives a float for 'n'"),
        (lambda params, buffers, generator: ({**params, "n": torch.tensor([3])}, buffers), "and int64 for 'n'"),
        (lambda params, buffers, generator: ({}, buffers), "nothing to train"),
        (
            lambda params, buffers, generator: ({**params, "w": torch.rand(3)}, buffers),
            "draws 'w' without the generator",
        ),
        (
            lambda p, buffers, g: ({n: v[None] for n, v in p.items()}, buffers),
            "loss raises RuntimeError: batch2 must be",
        ),
    ],
)
def test_a_wrong_init_is_said_in_words(make, said):
    assert said in verdict(with_init(make))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda z_a, z_v: z_a, "embed returns a tensor of shape [2, 16, 4]"),
        (lambda z_a, z_v: (z_a[..., 0], z_v[..., 0]), "embed returns [2, 16] and [2, 16]; both must be [L, B, D]"),
        (lambda z_a, z_v: (z_a[0], z_v[0]), "both must be [L, B, D], here [2, 16, D]"),
        (lambda z_a, z_v: (z_a, z_v[..., :2]), "embed returns [2, 16, 4] and [2, 16, 2]"),
        (lambda z_a, z_v: (z_a - z_a.mean(1, keepdim=True), z_v), "the audio embedding of a clip depends on the other"),
        (lambda z_a, z_v: (z_a, z_v - z_v.mean(0)), "the visual embeddings of a lane depend on the weights of other"),
        (lambda z_a, z_v: (z_a / 0, z_v), "not finite"),
    ],
)
def test_a_wrong_embed_is_said_in_words(make, said):
    assert said in verdict(with_embed(make))


def test_a_wrong_schedule_or_step_is_said_in_words():
    class Scheduled(Linear):
        def schedules(self, hyper, progress):
            return {"r": 0.5}

    class Stepped(Linear):
        def after_step(self, params, buffers, hyper):
            buffers["seen"].copy_(params["audio"].mean().expand_as(buffers["seen"]))

    assert "schedules gives a float for 'r'; it must be of shape [2]" in verdict(Scheduled)
    assert "the buffer 'seen' of a lane depends on the clips, weights" in verdict(Stepped)


def test_a_wrong_solution_is_said_in_words():
    class Solved(ClosedForm):
        name, summary, source, hypers = "solved", "nothing", "nobody", ()
        init, embed = Linear.init, Linear.embed

        def solve(self, audio_NA, visual_NV, labels_N, hyper, generator):
            return {"audio": torch.zeros(2)}, {}

    assert "it must return the names and shapes of init" in verdict(Solved)


class Writer(Linear):
    """Each part writes to what it is given, in the way of a subclass."""

    def write(self, part, given):
        raise NotImplementedError

    def embed(self, params, buffers, audio, visual):
        self.write("embed", {"audio": audio, "visual": visual, "params": params["audio"], "buffers": buffers["seen"]})
        return super().embed(params, buffers, audio, visual)

    def loss(self, params, buffers, batch, hyper, progress):
        return Linear(self.static, *DIMS).loss(params, buffers, batch, hyper, progress)

    def after_step(self, params, buffers, hyper):
        self.write("after_step", hyper)

    def schedules(self, hyper, progress):
        self.write("schedules", hyper | {"epoch": progress.epoch})
        return {}


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        ("embed", "audio", "embed changes audio in place"),
        ("embed", "visual", "embed changes visual in place"),
        ("embed", "params", "embed changes params['audio'] in place"),
        ("embed", "buffers", "embed changes buffers['seen'] in place"),
        ("after_step", "lr", "after_step changes hyper['lr'] in place"),
        ("schedules", "tau", "schedules changes hyper['tau'] in place"),
        ("schedules", "epoch", "schedules changes progress.epoch in place"),
    ],
)
def test_no_part_may_write_to_what_others_read(part, name, said):
    class Wrong(Writer):
        def write(self, here, given):
            if here == part:
                given[name].data[:1] += 1  # torch does not count this one

    assert f"{said}, which other lanes or steps read too; work on a copy" in verdict(Wrong)


@pytest.mark.parametrize("at", range(3))
def test_a_solution_may_not_write_to_the_features(at):
    class Solved(ClosedForm):
        name, summary, source, hypers = "solved", "nothing", "nobody", ()
        init, embed = Linear.init, Linear.embed

        def solve(self, *given):
            given[at][:1] += 1
            return self.init(given[-1])

    assert f"solve changes {('audio', 'visual', 'labels')[at]} in place" in verdict(Solved)


def test_a_right_method_may_draw_from_torch_and_may_need_many_clips():
    def noisy(right, self, params, *_):
        return {"loss": right + (torch.randn_like(params["audio"]) * params["audio"]).mean((1, 2))}

    def greedy(right, self, params, buffers, batch, *_):
        if batch.labels.shape[1] < 64:
            raise RuntimeError("too few clips")
        return {"loss": right}

    assert verdict(with_loss(noisy)) is None
    assert "too few clips" in verdict(with_loss(greedy))
    assert verdict(with_loss(greedy), rows=64) is None


def test_the_callers_generator_is_left_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    verdict(Linear)
    assert torch.equal(torch.rand(2), expected)
