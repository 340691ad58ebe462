"""Recorded curves: the file, the curves of a study, and the curves that are made of them."""

import itertools
import lzma
from dataclasses import replace

import numpy as np
import pytest
from test_study import drive, make_folder, make_space  # noqa: F401

from avtune.core.errors import UserError
from avtune.core.trial import Trial
from avtune.space.space import Space
from avtune.study import recorded_curves
from avtune.study.recorded_curves import RecordedCurves, RecordedRun, curves_of_study, read_recorded, write_curves
from avtune.study.simulated_curves import Nearest, Spread, Surrogate, unit_point
from avtune.study.study import Study

SPACE: Space = make_space()
LENGTH = 12


def level(x):
    """What a configuration is worth: best at 0.7."""
    return 0.8 - (x - 0.7) ** 2


def recorded(count=12, seeds=2, length=LENGTH):
    draw = np.random.default_rng(0)
    runs = []
    for number in range(count):
        x = (number + 0.5) / count
        for seed in range(seeds):
            rise = 1 - np.exp(-np.arange(1, length + 1) / 3)
            curve = level(x) * rise + 0.01 * draw.normal() + 0.002 * draw.normal(size=length)
            runs.append(RecordedRun(number, {"x": x}, seed, tuple(curve.tolist()), (0.5,) * length))
    return RecordedCurves(SPACE, 640, "fp32", {"how": "by hand"}, runs)


def trial(x, seed=0, **config):
    return Trial(0, "toy", {"x": x, **config}, seed, LENGTH)


def read(curves, *words, count=LENGTH, **more):
    return list(itertools.islice(curves.values(trial(*words, **more)), count))


def test_a_file_gives_back_what_was_written(tmp_path):
    write_curves(tmp_path / "one.jsonl.xz", recorded())
    found = read_recorded(tmp_path / "one.jsonl.xz")
    assert found.space == SPACE
    assert found.space.defaults() == SPACE.defaults()
    assert (found.rows, found.precision, found.about) == (640, "fp32", {"how": "by hand"})
    assert found.runs[3].config == recorded().runs[3].config
    assert np.allclose(found.runs[3].curve, recorded().runs[3].curve, atol=6e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no recorded curves"),
        ('{"curves":9}', "reads format 1"),
        ('{"curves":1}', "is damaged"),
        ("{", "is damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text, said):
    path = tmp_path / "one.jsonl.xz"
    path.write_bytes(lzma.compress(text.encode()))
    with pytest.raises(UserError, match=said):
        read_recorded(path)
    path.write_bytes(b"no xz at all")
    with pytest.raises(UserError, match="is damaged"):
        read_recorded(path)


def test_a_file_that_unpacks_to_too_much_or_lacks_its_end_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "one.jsonl.xz"
    write_curves(path, recorded())
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(UserError, match="is damaged"):
        read_recorded(path)
    path.write_bytes(lzma.compress(b" " * 200_000, preset=0))
    monkeypatch.setattr(recorded_curves, "_MOST_BYTES", 100_000)
    with pytest.raises(UserError, match="is damaged"):  # it needs more memory than that
        read_recorded(path)
    monkeypatch.setattr(recorded_curves, "_MOST_BYTES", 10_000_000)
    path.write_bytes(lzma.compress(b" " * 10_000_001, preset=0))
    with pytest.raises(UserError, match="holds more than"):
        read_recorded(path)


def test_a_run_of_another_space_and_a_torn_curve_are_refused(tmp_path):
    other = recorded()
    write_curves(tmp_path / "a.jsonl.xz", replace(other, runs=[replace(other.runs[0], config={"y": 1.0})]))
    with pytest.raises(UserError, match="another space"):
        read_recorded(tmp_path / "a.jsonl.xz")
    write_curves(tmp_path / "b.jsonl.xz", replace(other, runs=[replace(other.runs[0], seconds=(0.5,))]))
    with pytest.raises(UserError, match="lacks epochs"):
        read_recorded(tmp_path / "b.jsonl.xz")


def test_the_curves_of_a_study_with_those_that_were_stopped(make_folder):  # noqa: F811
    folder = make_folder()
    study = Study(folder, SPACE)
    drive(study)
    study.close()
    found = curves_of_study(folder)
    assert [run.number for run in found.runs] == [record.number for record in study.records]
    for run, record in zip(found.runs, study.records, strict=True):
        assert run.curve == tuple(record.values.values())
        assert run.whole == (record.stopped_at is None)
        assert len(run.seconds) == len(run.curve)
    assert {run.whole for run in found.runs} == {True, False}
    curves = Nearest(found)
    stopped = next(run for run in found.runs if not run.whole)
    longer = read(curves, stopped.config["x"], count=9)
    assert longer[: len(stopped.curve)] == list(stopped.curve)
    assert longer[-1] > stopped.curve[-1]  # it goes on as the others did


def test_a_study_without_a_whole_trial_has_no_curves(make_folder):  # noqa: F811
    folder = make_folder()
    Study(folder, SPACE).close()
    with pytest.raises(UserError, match="no trial that trained to its end"):
        curves_of_study(folder)


def test_the_unit_cube_takes_logarithms_and_choices():
    space = make_space("x: {type: float, low: 0.01, high: 1.0, log: true}, kind: {type: choice, values: [a, b]}")
    assert unit_point(space.axes, {"x": 0.1, "kind": "b"}) == pytest.approx([0.5, 0.0, 1.0])


def test_the_nearest_curve_is_a_recorded_one_and_the_seed_chooses_the_run():
    runs = recorded().runs
    curves = Nearest(recorded())
    assert {tuple(read(curves, 0.55, seed)) for seed in range(4)} == {runs[12].curve, runs[13].curve}
    assert curves.value(curves.configs[curves.best]) == curves.most
    assert curves.value({"x": 0.1}) < curves.most - 0.2


def test_a_curve_goes_on_beyond_its_end_with_its_last_quarter():
    curve = list(recorded().runs[0].curve)
    assert read(Nearest(recorded()), 0.04, count=17) == [*curve, *curve[-3:], *curve[-3:-1]]


def test_with_other_rows_a_curve_is_read_at_the_same_number_of_steps():
    spaces = replace(SPACE, fixed={"batch_size": 64})
    curves = Nearest(replace(recorded(), space=spaces), lambda config: 20)  # 10 steps of an epoch were recorded
    curve = recorded().runs[0].curve
    assert read(curves, 0.04, count=6, batch_size=64) == pytest.approx(curve[1::2])
    slower = Nearest(replace(recorded(), space=spaces), lambda config: 5)
    assert read(slower, 0.04, count=4, batch_size=64) == pytest.approx(
        [curve[0], curve[0], (curve[0] + curve[1]) / 2, curve[1]]
    )


def test_the_surrogate_finds_the_level_between_recorded_configurations():
    curves = Surrogate(recorded())
    for x in (0.1, 0.33, 0.72, 0.9):
        assert curves.value({"x": x}) == pytest.approx(level(x) * (1 - np.exp(-4)), abs=0.02)
    assert curves.most == pytest.approx(0.8, abs=0.03)
    assert curves.left_out > 0.95


def test_the_surrogate_s_seeds_lie_as_far_apart_as_recorded_ones():
    curves = Surrogate(recorded(count=12, seeds=4))
    best = [max(read(curves, 0.5, seed)) for seed in range(80)]
    assert np.std(best) == pytest.approx(0.01, rel=0.5)
    assert Spread(recorded(seeds=4)).value == pytest.approx(0.01, rel=0.5)
    assert read(curves, 0.5, 3) == read(curves, 0.5, 3)
    assert read(curves, 0.5, 3) != read(curves, 0.5, 4)


def test_with_one_run_each_a_configuration_is_worth_the_same_with_every_seed():
    """Seeds take the form of one neighbour or another; how far they lie apart is not known, and nothing is added."""
    draw, runs = np.random.default_rng(0), []
    for number in range(12):
        x = (number + 0.5) / 12
        curve = level(x) * (1 - np.exp(-np.arange(1, LENGTH + 1) / draw.uniform(1, 3)))
        runs.append(RecordedRun(number, {"x": x}, 0, tuple(curve.tolist()), (0.5,) * LENGTH))
    one_each = RecordedCurves(SPACE, 640, "fp32", {}, runs)
    curves = Surrogate(one_each)
    found = [read(curves, 0.5, seed) for seed in range(20)]
    assert len({tuple(one) for one in found}) > 1
    assert [max(one) for one in found] == pytest.approx([curves.value({"x": 0.5})] * 20, rel=0.01)
    assert Spread(one_each).value == 0


def test_a_trial_of_a_recorded_configuration_is_one_of_its_runs():
    known = recorded(seeds=3)
    runs = [run for run in known.runs if run.number == 5]
    curves = Surrogate(known)
    found = {tuple(read(curves, runs[0].config["x"], seed)) for seed in range(40)}
    assert found == {run.curve for run in runs}
    mean = np.mean([run.curve for run in runs], axis=0)
    assert curves.value(runs[0].config) == pytest.approx(mean.max(), abs=0.002)


def test_a_trial_leaves_its_plateau_as_a_recorded_run_does_or_does_not():
    """Of the runs of every configuration one stays on a plateau. Their mean leaves it halfway, and so does no trial."""
    rise, runs = np.arange(1, LENGTH + 1), []
    for number in range(16):
        x = (number + 0.5) / 16
        stays = np.minimum(rise / 4, 0.5)
        leaves = np.where(rise > 6, np.minimum((rise - 4) / 4, 1.0), stays)
        runs += [
            RecordedRun(number, {"x": x}, seed, tuple((level(x) * one).tolist()), (0.5,) * LENGTH)
            for seed, one in enumerate((stays, leaves))
        ]
    curves = Surrogate(RecordedCurves(SPACE, 640, "fp32", {}, runs))
    share = [max(one) / one[5] for one in (read(curves, 0.5, seed) for seed in range(40))]
    assert set(np.round(share, 2)) == {1.0, 2.0}


def test_a_trial_has_the_form_of_a_run_that_no_rung_stopped():
    known = recorded(seeds=1)
    cut = [replace(run, curve=run.curve[:2], seconds=run.seconds[:2], whole=run.number == 11) for run in known.runs]
    curves = Surrogate(replace(known, runs=[*cut[:11], known.runs[11]]))
    whole = known.runs[11].curve
    found = read(curves, 0.05)
    assert np.corrcoef(found, whole)[0, 1] > 0.99


def rough(count=60, spread=0.05):
    """Configurations whose values differ by chance alone, in a way that all their runs share."""
    draw = np.random.default_rng(2)
    runs = []
    for number in range(count):
        own = 0.5 + spread * draw.normal()
        curve = own * (1 - np.exp(-np.arange(1, LENGTH + 1) / 3))
        values = [tuple((curve + 0.001 * draw.normal(size=LENGTH)).tolist()) for _ in range(2)]
        runs += [
            RecordedRun(number, {"x": draw.random()}, seed, one, (0.5,) * LENGTH) for seed, one in enumerate(values)
        ]
    return RecordedCurves(SPACE, 640, "fp32", {}, runs)


def test_the_surrogate_is_as_rough_as_what_was_recorded():
    """New configurations differ as the recorded ones do, although no regression can say which is good; a configuration
    keeps what it is worth, whatever the seed."""
    curves = Surrogate(rough())
    worth = [curves.value({"x": float(x)}) for x in np.random.default_rng(3).random(200)]
    assert np.std(worth) == pytest.approx(0.05, rel=0.3)
    assert curves.value({"x": 0.31}) == curves.value({"x": 0.31})
    best = [max(read(curves, 0.31, seed)) for seed in range(20)]
    assert np.std(best) < 0.01


def test_seeds_alone_add_nothing_to_a_configuration():
    """What the seeds of the recorded runs explain is not counted twice."""
    deviations = Surrogate(recorded(count=12, seeds=8))._deviations
    assert np.sqrt(np.mean(np.square(deviations))) < 0.01


def test_no_mean_curve_lies_above_the_recorded_ones():
    """A regression through a steep slope would overshoot beyond its end."""
    draw = np.random.default_rng(4)
    runs = []
    for number, x in enumerate([*np.linspace(0.0, 0.5, 12), 0.55]):
        rise = min(0.2 + 1.2 * x, 0.75) * (1 - np.exp(-np.arange(1, LENGTH + 1) / 3))
        runs += [
            RecordedRun(
                number,
                {"x": float(x)},
                seed,
                tuple((rise + 0.001 * draw.normal(size=LENGTH)).tolist()),
                (0.5,) * LENGTH,
            )
            for seed in range(2)
        ]
    curves = Surrogate(RecordedCurves(SPACE, 640, "fp32", {}, runs))
    highest = max(max(run.curve) for run in runs)
    predicted = curves._predicted(np.linspace(0, 1, 50)[:, None])
    assert predicted.max() <= highest
    assert predicted.max() > highest - 0.01


def test_an_axis_without_effect_makes_no_configuration_a_neighbour():
    space = make_space("x: {type: float, low: 0.0, high: 1.0}, fixed: {type: int, low: 1, high: 9}")
    draw, runs = np.random.default_rng(5), []
    for number in range(40):
        x, idle = draw.random(), int(draw.integers(1, 10))
        curve = (0.2 + 0.6 * x) * (1 - np.exp(-np.arange(1, LENGTH + 1) / 3))
        runs += [
            RecordedRun(
                number,
                {"x": x, "idle": idle},
                seed,
                tuple((curve + 0.002 * draw.normal(size=LENGTH)).tolist()),
                (0.5,) * LENGTH,
            )
            for seed in range(2)
        ]
    curves = Surrogate(RecordedCurves(space, 640, "fp32", {}, runs))
    near = sorted(
        config["x"] for config in (curves.configs[place] for place in curves._nearest({"x": 0.5, "fixed": 5}, 5))
    )
    assert near == sorted(sorted((config["x"] for config in curves.configs), key=lambda x: abs(x - 0.5))[:5])
