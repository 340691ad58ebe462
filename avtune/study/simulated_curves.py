"""Validation curves for configurations that were not recorded, from those that were (`study.recorded_curves`).

`Nearest` gives the curve of the nearest recorded configuration. `Surrogate` is a regression over the unit cube of the
space (each axis scaled to 0..1, in its logarithm where it is sampled so; a choice is a coordinate for each value):

- the mean curve, at 24 epochs spread evenly in the logarithm, by a Gaussian process (Matern 5/2) with one length for
  each axis, which are fitted to the best value of the curves (scikit-learn, maximum likelihood); at no epoch higher
  than the highest recorded one, which a search would else find between the recorded points;
- what the configuration is worth: the best value of that curve, and what the regression does not explain (a search
  would else climb a landscape smoother than the real one): of one of the five nearest recorded configurations, how far
  its best value lies from what the others say of it (leave-one-out), less the share of that which seeds explain; drawn
  with the configuration's values;
- the curve of a trial: a recorded run of one of the five nearest configurations, drawn with the trial's seed, times the
  ratio of both configurations' regressed mean curves, and scaled to what the configuration is worth. So its noise from
  epoch to epoch, its plateaus, when it is flat and what its seed adds are those of a real run. Means over seeds do not
  keep these: where one run ends on a plateau that another leaves later, their mean does neither.

A recorded configuration, e.g. the default one, is worth what was recorded; where it has several runs, a trial is one of
them, drawn with the seed.

Beyond its last recorded epoch a curve goes on with its last quarter, again and again. A run that a rung stopped goes on
as the mean of those that were not stopped, in proportion; trials take the form of whole runs alone. A curve that was
recorded on another number of rows, or with other batches, is read at the same number of optimiser steps.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.space.axis import Axis
from avtune.study.recorded_curves import RecordedCurves, RecordedRun

Floats = npt.NDArray[np.float64]
_GRID = 24
_NEIGHBOURS = 5
_LEAST, _MOST = 1e-3, 0.999
_SAME = 1e-9  # apart in the unit cube, as a value is after it was written and read

StepsOf = Callable[[Mapping[str, Value]], int]
"""Optimiser steps of an epoch of a configuration."""


def unit_point(axes: Sequence[Axis], config: Mapping[str, Value]) -> list[float]:
    """The place of a configuration in the unit cube of a space. A value outside its range lies outside the cube; what a
    configuration of another method lacks is the default."""
    point: list[float] = []
    for axis in axes:
        value = config.get(axis.name, axis.default)
        if axis.kind == "choice":
            point += [float(value == one) for one in axis.values]
            continue
        assert axis.low is not None
        assert axis.high is not None
        low, high, at = axis.low, axis.high, float(value)
        if axis.log:
            low, high, at = np.log(low), np.log(high), np.log(max(at, 1e-300))
        point.append((at - low) / (high - low))
    return point


class _Recorded:
    """What both kinds of curves know of the recorded ones.

    Args:
        recorded: see `RecordedCurves`.
        steps: of an epoch of the trials to come; None where they train on the recorded rows.
    """

    def __init__(self, recorded: RecordedCurves, steps: StepsOf | None = None) -> None:
        self._axes = recorded.space.axes
        self._fixed = recorded.space.fixed
        self._rows = recorded.rows
        self._steps = steps
        self.longest = max(len(run.curve) for run in recorded.runs)
        growth = _mean_curve([np.array(run.curve) for run in recorded.runs if run.whole], self.longest)
        self.numbers: list[int] = []
        self.configs: list[dict[str, Value]] = []
        self._runs: list[list[Floats]] = []
        self._forms: list[list[Floats]] = []  # of them, those that no rung stopped
        for number, runs in recorded.by_configuration.items():
            self.numbers.append(number)
            self.configs.append({**recorded.space.fixed, **runs[0].config})
            self._runs.append([_whole(run, growth) for run in runs])
            self._forms.append([np.array(run.curve) for run in runs if run.whole])
        self.points = np.array([unit_point(self._axes, config) for config in self.configs])

    @property
    def best(self) -> int:
        """The place, among `configs`, of the recorded configuration whose mean curve is highest."""
        return int(np.argmax([float(mean.max()) for mean in self._means]))

    @cached_property
    def _means(self) -> list[Floats]:
        """The mean curve of each configuration, over its runs."""
        return [_mean_curve(runs, self.longest) for runs in self._runs]

    def _place(self, config: Mapping[str, Value]) -> Floats:
        return np.array(unit_point(self._axes, config))

    def _nearest(self, config: Mapping[str, Value], count: int) -> list[int]:
        """The places of the nearest recorded configurations, nearest first."""
        return self._nearest_to(self._place(config), count)

    def _nearest_to(self, point: Floats, count: int) -> list[int]:
        apart = np.square(self.points - point).sum(axis=1)
        return [int(place) for place in np.argsort(apart, kind="stable")[:count]]

    def _ratio(self, config: Mapping[str, Value]) -> float:
        """Recorded epochs for each epoch of a trial."""
        batch = self._fixed.get("batch_size", config.get("batch_size"))
        if self._steps is None or batch is None or not self._rows:
            return 1.0
        return self._steps(config) / max(1, self._rows // int(batch))


class Nearest(_Recorded):
    """Curves of the nearest recorded configurations; one of their runs, by the trial's seed."""

    def values(self, trial: Trial) -> Iterator[float]:
        (place,) = self._nearest(trial.config, 1)
        runs = self._runs[place]
        return _read(runs[trial.seed % len(runs)], self._ratio(trial.config))

    def value(self, config: Mapping[str, Value]) -> float:
        """What a configuration is worth: the highest value of its mean curve over the recorded runs."""
        return float(self._means[self._nearest(config, 1)[0]].max())

    @property
    def most(self) -> float:
        """What the best configuration known is worth."""
        return float(self._means[self.best].max())


class Surrogate(_Recorded):
    """Curves of a fitted surrogate, see the head of this file. Fitting takes a second for 100 configurations."""

    def values(self, trial: Trial) -> Iterator[float]:
        point = self._place(trial.config)
        draw = mix(trial.seed, "run")
        same = self._recorded_at(point)
        if same is not None and len(self._forms[same]) > 1:
            runs = self._forms[same]
            return _read(runs[draw % len(runs)], self._ratio(trial.config))
        near = self._nearest_to(point, _NEIGHBOURS, self._formed)
        place = near[draw % len(near)]
        runs = self._forms[place]
        curve = self._carried(runs[(draw // len(near)) % len(runs)], place, point)
        return _read(np.clip(curve, _LEAST, _MOST), self._ratio(trial.config))

    def value(self, config: Mapping[str, Value]) -> float:
        """What a configuration is worth: the highest value of its mean curve."""
        return self._worth(self._place(config))

    @cached_property
    def most(self) -> float:
        """What the best configuration known is worth: of the recorded ones, and of 2,000 random ones."""
        draw = np.random.default_rng(0)
        numeric = all(axis.kind != "choice" for axis in self._axes)
        found = max(map(self.value, self.configs))
        if not numeric:
            return found
        cube = draw.uniform(size=(2000, self.points.shape[1]))
        whole = self._predicted(cube).max(axis=1) + np.array([self._deviation(point) for point in cube])
        return max(found, float(np.clip(whole, _LEAST, _MOST).max()))

    def _recorded_at(self, point: Floats) -> int | None:
        """The place of the configuration that was recorded at this point; None where none was."""
        near = np.flatnonzero(np.abs(self.points - point).max(axis=1) < _SAME)
        return int(near[0]) if len(near) else None

    def _nearest_to(self, point: Floats, count: int, among: Sequence[int] | None = None) -> list[int]:
        """By the fitted lengths: an axis that does not matter brings nothing nearer."""
        kernel, _, _ = self._fitted
        places = np.arange(len(self.points)) if among is None else np.array(among)
        (similar,) = kernel(point[None], self.points[places])
        return [int(place) for place in places[np.argsort(-similar, kind="stable")[:count]]]

    def _worth(self, point: Floats) -> float:
        same = self._recorded_at(point)
        if same is not None:
            return float(self._best[same])
        (on_grid,) = self._predicted(point[None])
        return float(np.clip(on_grid.max() + self._deviation(point), _LEAST, _MOST))

    def _carried(self, run: Floats, place: int, point: Floats) -> Floats:
        """A run of the recorded configuration at `place`, as one of that of the point: so that the mean of the recorded
        configuration's runs would come to what the point is worth."""
        epochs = np.arange(1, self.longest + 1)
        at_point, at_place = self._predicted(np.stack([point, self.points[place]]))
        ratio = np.interp(epochs, self._grid, at_point / at_place)
        highest = float((_smooth(self._means[place]) * ratio).max())
        carried: Floats = _longer(run, self.longest) * ratio * (self._worth(point) / highest)
        return carried

    def _deviation(self, point: Floats) -> float:
        """What a configuration's worth adds to the regression; the same for the same point of the cube."""
        near = self._nearest_to(point, _NEIGHBOURS)
        draw = mix("deviation", *(round(float(at) * 2**40) for at in point))
        return float(self._deviations[near[draw % len(near)]])

    @cached_property
    def _deviations(self) -> Floats:
        """Of each recorded configuration, its best value less what the others say of it [N]; less the share, by
        variance, that the seeds of its runs explain."""
        apart = self._best - self._others
        seeds, whole = float(np.mean(self._variances)), float(np.mean(np.square(apart)))
        found: Floats = apart * np.sqrt(max(0.0, 1.0 - seeds / whole)) if whole else apart
        return found

    @cached_property
    def _formed(self) -> list[int]:
        """The places of the recorded configurations with whole runs."""
        return [place for place, runs in enumerate(self._forms) if runs]

    @cached_property
    def _best(self) -> Floats:
        """The best value of each recorded configuration's mean curve."""
        return np.array([_smooth(mean).max() for mean in self._means])

    @cached_property
    def _others(self) -> Floats:
        """What the others say of it (leave-one-out; the lengths are those of all)."""
        kernel, _, _ = self._fitted
        inverse = np.linalg.inv(kernel(self.points))
        found: Floats = self._best - (inverse @ (self._best - self._best.mean())) / np.diag(inverse)
        return found

    @cached_property
    def _grid(self) -> Floats:
        """The epochs at which mean curves are regressed."""
        return np.unique(np.rint(np.geomspace(1, self.longest, _GRID))).astype(np.float64)

    @property
    def left_out(self) -> float:
        """How well it knows configurations that it was not fitted to: the correlation of the best value of a recorded
        configuration's mean curve with what the others say of it."""
        return float(np.corrcoef(self._best, self._others)[0, 1])

    @cached_property
    def _on_grid(self) -> Floats:
        """The mean curves, smoothed, on the grid [N, grid]."""
        epochs = np.arange(1, self.longest + 1)
        return np.array([np.interp(self._grid, epochs, _smooth(one)) for one in self._means])

    @cached_property
    def _highest(self) -> Floats:
        """The highest of them, by epoch of the grid."""
        highest: Floats = np.minimum(self._on_grid.max(axis=0), _MOST)
        return highest

    @property
    def _variances(self) -> list[float]:
        """Of each configuration with several runs, the variance of the mean of their best values."""
        found = [[float(_smooth(run).max()) for run in runs] for runs in self._runs if len(runs) > 1]
        return [float(np.var(one, ddof=1)) / len(one) for one in found] or [0.0]

    @cached_property
    def _fitted(self) -> tuple[Callable[..., Floats], Floats, Floats]:
        """The kernel, what the recorded points are multiplied by, and the mean on the grid."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        means = self._on_grid
        best = means.max(axis=1)
        scale = best.std() or 1.0
        least = min(max(float(np.mean(self._variances)) / scale**2, 1e-4), 0.9)  # what seeds leave in a mean, at least
        lengths = np.ones(self.points.shape[1])
        noise = WhiteKernel(max(least, 0.05), (least, 1.0))
        smooth = Matern(lengths, (0.3, 20), nu=2.5)
        regressor = GaussianProcessRegressor(ConstantKernel(1.0, (0.05, 50)) * smooth + noise)
        with warnings.catch_warnings():  # a length at its bound is an axis that does not matter
            warnings.simplefilter("ignore", ConvergenceWarning)
            regressor.fit(self.points, (best - best.mean()) / scale)
        middle = means.mean(axis=0)
        weights = np.linalg.solve(regressor.kernel_(self.points), means - middle)
        return regressor.kernel_, weights, middle

    def _predicted(self, points: Floats) -> Floats:
        """Mean curves on the grid, for points of the cube [N, D]."""
        kernel, weights, middle = self._fitted
        similar: Floats = kernel(points, self.points)
        predicted: Floats = np.clip(similar @ weights + middle, _LEAST, self._highest)
        return predicted


@dataclass(frozen=True)
class Spread:
    """How far seeds lie apart: the standard deviation of a run's best value, over all recorded configurations."""

    recorded: RecordedCurves

    @property
    def value(self) -> float:
        """0 where every configuration has one run."""
        found = [
            float(np.var([max(run.curve) for run in runs], ddof=1))
            for runs in self.recorded.by_configuration.values()
            if len(runs) > 1
        ]
        return float(np.sqrt(np.mean(found))) if found else 0.0


def _whole(run: RecordedRun, growth: Floats) -> Floats:
    """A run's curve; of one that was stopped, as it would have gone on."""
    curve = np.array(run.curve)
    if run.whole or len(curve) >= len(growth):
        return curve
    on = growth[len(curve) :] / growth[len(curve) - 1]
    return np.concatenate([curve, np.clip(curve.max() * on, _LEAST, _MOST)])


def _longer(curve: Floats, epochs: int) -> Floats:
    """A curve of so many epochs at least: its last quarter again and again."""
    if len(curve) >= epochs:
        return curve
    tail = curve[-max(1, len(curve) // 4) :]
    return np.concatenate([curve, np.resize(tail, epochs - len(curve))])


def _mean_curve(curves: Sequence[Floats], epochs: int) -> Floats:
    mean: Floats = np.mean([_longer(curve, epochs) for curve in curves], axis=0)
    return mean


def _smooth(curve: Floats) -> Floats:
    """The mean over three neighbouring epochs."""
    padded = np.concatenate([curve[:1], curve, curve[-1:]])
    smooth: Floats = np.convolve(padded, np.full(3, 1 / 3), mode="valid")
    return smooth


def _read(curve: Floats, ratio: float) -> Iterator[float]:
    """The values of a curve without end.

    Args:
        ratio: recorded epochs for each one read; a place between two epochs takes a share of both, one before the first
            the first.
    """
    if ratio == 1.0:
        yield from curve.tolist()
        tail = curve[-max(1, len(curve) // 4) :].tolist()
        yield from itertools.cycle(tail)
        return
    epochs = np.arange(1, len(curve) + 1)
    for epoch in itertools.count(1):
        at = epoch * ratio
        if at > len(curve):
            curve = _longer(curve, 2 * len(curve))
            epochs = np.arange(1, len(curve) + 1)
        yield float(np.interp(at, epochs, curve))
