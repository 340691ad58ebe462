"""`--protocol published`: the best test epoch of every seed, labelled wherever it is shown, and never mixed with the
default protocol."""

import json

import pytest
import yaml
from command import call
from toy import toy_dataset, toy_prepared, write_toy

from avtune.core.trial import Trial
from avtune.engine.engine import Engine
from avtune.engine.messages import Orders
from avtune.engine.model import load_model
from avtune.engine.trainer import train
from avtune.finals.scores import score
from avtune.methods import check_config, get

LABEL = "selected on test"


def search(folder, *words):
    where = ["--results", folder / "results", "--runner", "inline", "--gpus", "0"]
    return ["search", folder / "toy.h5", "--space", folder / "space.yaml", *where, *words]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One search under each protocol, under the names that they take by themselves; what each printed."""
    import contextlib
    import io

    from avtune.cli.main import main

    folder = tmp_path_factory.mktemp("both")
    write_toy(folder)
    printed = {}
    for name, words in (("toy", []), ("toy-published", ["--protocol", "published"])):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([str(word) for word in search(folder, *words)]) == 0
        printed[name] = out.getvalue()
    return folder, printed


def facts(folder, name):
    return json.loads((folder / "results" / name / "final" / "metrics.json").read_text())


def test_the_search_is_the_same_and_only_the_finals_differ(both):
    folder, _ = both
    best = [yaml.safe_load((folder / "results" / name / "best.yaml").read_text()) for name in ("toy", "toy-published")]
    assert best[0] == best[1]
    default, published = facts(folder, "toy"), facts(folder, "toy-published")
    assert (default["selected_on"], published["selected_on"]) == ("validation", "test")
    assert published["epochs"] == 6
    assert len(published["best_epochs"]) == 2
    assert all(1 <= epoch <= 6 for epoch in published["best_epochs"])
    assert published["untrained"] == default["untrained"]


def test_each_seed_keeps_its_best_test_epoch(both):
    folder, _ = both
    published = facts(folder, "toy-published")
    kept = (folder / "results" / "toy-published" / "repeats.jsonl").read_text()
    runs = [json.loads(line) for line in kept.splitlines()]
    # the winner's seeds; the default configuration's are between them
    retrained = runs[-4::2] if "default" in published and not published.get("default_is_winner") else runs[-2:]
    for run, epoch, value in zip(retrained, published["best_epochs"], published["test"]["map"]["seeds"], strict=True):
        curve = {int(at): seen for at, seen in run["curve"].items()}
        assert len(curve) == 6
        assert curve[epoch] == max(curve.values())
        assert value == pytest.approx(curve[epoch], abs=1e-5)


def test_the_model_is_that_of_the_epoch(both):
    folder, _ = both
    published = facts(folder, "toy-published")
    model = load_model(folder / "results" / "toy-published")
    assert model.trained.epochs == published["best_epochs"][0]
    assert score(model, toy_dataset().test).map == pytest.approx(published["test"]["map"]["seeds"][0], abs=1e-9)


def test_everything_is_labelled(both, capsys):
    folder, printed = both
    study = folder / "results" / "toy-published"
    shown = printed["toy-published"]
    assert f"the epoch of every retrained model is {LABEL}" in shown
    for line in shown.splitlines():
        if line.startswith(("retrained winner", "default configuration", "test split", "over the queries")):
            assert LABEL in line
    assert facts(folder, "toy-published")["label"] == LABEL
    assert LABEL in (study / "final" / "MODEL_CARD.md").read_text()
    page = (study / "report.html").read_text()
    assert f"retrained winner, {LABEL}" in page
    where = ["--results", folder / "results"]
    assert LABEL in call(capsys, "status", "toy-published", *where)
    assert json.loads(call(capsys, "status", "toy-published", *where, "--json"))["label"] == LABEL
    assert LABEL in call(capsys, "evaluate", "toy-published", folder / "toy.h5", *where)
    scores = json.loads(call(capsys, "evaluate", "toy-published", folder / "toy.h5", *where, "--json"))
    assert scores["epoch"] == LABEL
    assert yaml.safe_load((study / "study.yaml").read_text())["protocol"] == "published"


def test_the_default_protocol_says_nothing_of_it(both, capsys):
    folder, printed = both
    study = folder / "results" / "toy"
    texts = [printed["toy"]] + [
        (study / name).read_text()
        for name in ("final/metrics.json", "final/MODEL_CARD.md", "report.html", "study.yaml")
    ]
    texts.append((study / "final" / "config.yaml").read_text())
    texts.append(call(capsys, "status", "toy", "--results", folder / "results"))
    assert not any(LABEL in text or "published" in text for text in texts)


def test_a_study_keeps_its_protocol(both, capsys):
    folder, _ = both
    said = call(capsys, *search(folder, "--name", "toy", "--protocol", "published"), code=2)
    assert "protocol: validation -> published" in said
    said = call(capsys, *search(folder, "--name", "toy-published", "--protocol", "validation"), code=2)
    assert "protocol: published -> validation" in said
    assert LABEL in call(capsys, *search(folder, "--name", "toy-published"))
    assert "did you mean 'published'" in call(capsys, *search(folder, "--protocol", "publishd"), code=2)


def test_engines_and_the_core_trainer_keep_the_weights_of_the_same_epoch():
    data = toy_prepared()
    config = check_config(get("triplet"), {"hidden_dim": 8, "embedding_dim": 3, "batch_size": 16, "lr": 0.3})
    trial = Trial(0, "triplet", config, 2, 9, save_to="weights", keep_best=True)
    curve = {}
    trained = train(trial, data, lambda epoch, metrics: curve.__setitem__(epoch, metrics["val_map"]) or True)
    best = max(curve, key=lambda epoch: (curve[epoch], -epoch))
    assert trained.epochs == best
    assert best < 9, "a learning rate that spoils the end, so that there is something to keep"

    saved = {}
    engine = Engine([data], capacity=1, device="cpu", save=lambda one, params, buffers, epochs: saved.update(params))
    orders = iter([Orders([], [trial], False), *[Orders([], [], False)] * 8])
    for order in orders:
        message = engine.step(order)
    assert message.ends == [(0, None, "")]
    for name, value in trained.params.items():
        assert saved[name] == pytest.approx(value, abs=1e-6)
