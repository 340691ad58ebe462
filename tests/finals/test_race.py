"""A race of finalists: what is decided from which values, and that the order of ends, devices and kills have no part
in it."""

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from avtune.core.run_key import run_key
from avtune.core.trial import Trial
from avtune.finals.race import ERROR, cannot_win, pooled_spread, rounds
from avtune.finals.repeats import Entrant, Seeds, race, settled_after
from avtune.finals.run_record import Result
from avtune.finals.select import Candidate, winner

SEEDS = 5


def test_rounds_grow_to_the_full_number():
    assert [rounds(seeds) for seeds in (1, 2, 3, 4, 5, 9)] == [[1], [2], [2, 3], [2, 3, 4], [2, 3, 5], [2, 3, 5, 8, 9]]


def test_the_bound_is_the_prediction_interval_of_the_final_difference():
    values = {"a": [0.60, 0.62], "b": [0.58, 0.60], "c": [0.50, 0.56]}
    spread, freedom = pooled_spread(list(values.values()))
    assert (spread**2, freedom) == (pytest.approx((0.0002 + 0.0002 + 0.0018) / 3), 3)
    most = stats.t.ppf(1 - ERROR / (2 * 2), 3) * spread * (2 * (1 / 2 - 1 / 5)) ** 0.5
    for behind, dropped in ((most * 1.001, {"c"}), (most * 0.999, set())):
        moved = {**values, "c": [0.61 - behind - 0.03, 0.61 - behind + 0.03]}
        assert cannot_win(moved, "abc", SEEDS, leading="abc", compared=3) == dropped


def test_the_stated_error_is_kept():
    """Of finalists that all seeds put first, no more are dropped than stated, however close they are."""
    draw, wrong, tried = random.Random(0), 0, 0
    for _ in range(1500):
        gap = draw.choice([0.0, 1.0, 2.0, 4.0])
        values = {one: [draw.gauss(-gap * (one > 0), 1) for _ in range(SEEDS)] for one in range(3)}
        first = max(values, key=lambda one: sum(values[one]))
        racing = set(values)
        for count in rounds(SEEDS)[:-1]:
            known = {one: values[one][:count] for one in racing}
            racing -= cannot_win(known, racing, SEEDS, leading=racing, compared=3)
        tried += 1
        wrong += first not in racing
    assert wrong / tried <= ERROR


def test_equal_values_drop_nobody_and_closed_forms_are_decided_at_once():
    assert cannot_win({"a": [0.5, 0.5], "b": [0.5, 0.5]}, "ab", SEEDS, leading="ab", compared=2) == set()
    assert cannot_win({"a": [0.5, 0.5], "b": [0.4, 0.4]}, "ab", SEEDS, leading="ab", compared=2) == {"b"}


@dataclass
class World:
    """Finalists with a curve for every seed; the last one is the default configuration. A run is done once."""

    curves: list[list[list[float]]]
    default_may_win: bool = True
    fails: frozenset = frozenset()
    patience: int = 0
    shuffle: int = 0

    def __post_init__(self):
        self.done, self.asked = {}, []

    def entrants(self):
        made = []
        for place, of_one in enumerate(self.curves):
            config = {"x": place}
            number = None if place == len(self.curves) - 1 and not self.default_may_win else place
            runs = [
                Trial(0, "triplet", config, seed, len(curve), patience=self.patience)
                for seed, curve in enumerate(of_one)
            ]
            made.append(Entrant(Candidate(number, config), runs))
        return made

    def run(self, stop_after=None):
        """The race; `stop_after` kills it when so many runs are on record."""

        def do(stage, names, runs):
            assert len(set(names)) == len(names)
            to_do = [run for run in runs if run_key(run) not in self.done]
            random.Random(self.shuffle).shuffle(to_do)
            for run in to_do:
                if stop_after is not None and len(self.done) >= stop_after:
                    raise KeyboardInterrupt
                place, curve = run.config["x"], self.curves[run.config["x"]][run.seed]
                failure = "burned" if (place, run.seed) in self.fails else None
                epochs = run.epochs if not run.patience else max(run.least, len(curve))
                known = {} if failure else dict(enumerate(curve[:epochs], 1))
                self.asked.append((place, run.seed))
                self.done[run_key(run)] = Result(known, 1.0, failure)
            return [self.done[run_key(run)] for run in runs]

        entrants = self.entrants()
        race(entrants, Seeds(do, "damaged"))
        return [one.repeated() for one in entrants]


@st.composite
def worlds(draw, fails=True):
    count = draw(st.integers(1, 4))
    source = random.Random(draw(st.integers(0, 10**6)))
    gap = draw(st.sampled_from([0.0, 0.02, 0.1]))
    curves = [
        [[0.5 - gap * place + source.gauss(0, 0.01) for _ in range(4)] for _ in range(SEEDS)] for place in range(count)
    ]
    pairs = [(place, seed) for place in range(count) for seed in range(SEEDS)]
    failing = draw(st.frozensets(st.sampled_from(pairs), max_size=3)) if fails else frozenset()
    return World(curves, draw(st.booleans()), failing)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 99))
def test_the_order_in_which_runs_end_changes_nothing(world, order):
    first, other = world, replace(world, shuffle=order)
    assert first.run() == other.run()
    assert set(first.asked) == set(other.asked)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(0, 20))
def test_a_race_that_goes_on_after_a_kill_has_the_same_runs(world, stop_after):
    whole, killed = world, replace(world)
    rows = whole.run()
    try:
        killed.run(stop_after)
    except KeyboardInterrupt:
        assert len(killed.asked) == stop_after
    assert killed.run() == rows
    assert sorted(killed.asked) == sorted(whole.asked)
    killed.run()
    assert len(killed.asked) == len(whole.asked), "nothing is left to do"


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_the_winner_has_all_seeds(world):
    rows = world.run()
    won = winner(rows)
    fit = [row for row in rows if row.candidate.number is not None and row.failure is None]
    assert (won is None) == (not fit)
    if won is not None:
        assert len(won.results) == SEEDS
        assert not won.dropped
    assert all(row.dropped == (len(row.results) < SEEDS) for row in fit)


@settings(max_examples=30, deadline=None)
@given(worlds(fails=False))
def test_who_keeps_all_seeds_has_the_values_of_full_finals(world):
    entrants = world.entrants()
    rows = {row.candidate.called: row for row in world.run() if not row.dropped}
    Seeds(lambda stage, names, runs: [Result(dict(enumerate(world.curves[run.config["x"]][run.seed], 1)), 1.0)
                                      for run in runs], "").give(entrants, SEEDS)  # fmt: skip
    for one in entrants:
        if one.candidate.called in rows:
            assert one.repeated() == rows[one.candidate.called]


def world_of(*means, **more):
    """Finalists whose seeds are close to these means."""
    curves = [[[mean + 0.001 * seed] for seed in range(SEEDS)] for mean in means]
    return World(curves, **more)


def test_a_clear_leader_leaves_the_others_with_two_seeds():
    rows = world_of(0.5, 0.9, 0.4, 0.3).run()
    assert [len(row.results) for row in rows] == [2, 5, 2, 2]
    assert [row.dropped for row in rows] == [True, False, True, True]


def test_two_that_are_level_go_to_the_end():
    rows = world_of(0.9, 0.9, 0.4, 0.3).run()
    assert [len(row.results) for row in rows] == [5, 5, 2, 2]


def test_a_default_that_was_no_trial_has_all_seeds_where_it_is_close():
    for mean, seeds in ((0.95, 5), (0.9, 5), (0.3, 2)):
        rows = world_of(0.9, 0.4, mean, default_may_win=False).run()
        assert [len(row.results) for row in rows] == [5, 2, seeds]
        assert winner(rows).candidate.number == 0


def test_equal_finalists_are_all_run_to_the_end():
    assert [len(row.results) for row in world_of(0.5, 0.5, 0.5).run()] == [5, 5, 5]


def test_one_that_is_alone_has_all_seeds_at_once():
    stages = []

    def do(stage, names, runs):
        stages.append((stage, len(names)))
        return [Result({1: 0.5 if run.config["x"] == 0 else 0.1}, 1.0) for run in runs]

    race(world_of(0.5).entrants(), Seeds(do, ""))
    assert stages == [("finalists", SEEDS)]
    race(world_of(0.5, 0.1).entrants(), Seeds(do, ""))
    assert stages[1:] == [("finalists", 4), ("finalists, seeds 3 to 5", 3)]


def test_those_that_were_dropped_for_one_that_fails_come_back():
    rows = world_of(0.5, 0.9, 0.4, 0.3, fails=frozenset([(1, 2)])).run()
    assert rows[1].failure == "burned"
    assert len(rows[0].results) == SEEDS
    assert winner(rows).candidate.number == 0


def test_further_seeds_of_an_open_horizon_train_until_the_mean_has_peaked():
    rise = [0.1 * epoch for epoch in range(1, 7)] + [0.6 - 0.001 * epoch for epoch in range(1, 20)]
    world = World([[[value - 0.1 * place for value in rise] for _ in range(SEEDS)] for place in range(2)], patience=4)
    rows = world.run()
    lengths = [len(run.curve) for run in rows[0].results]
    assert lengths == [25, 25, 10, 10, 10]
    assert rows[0].epoch == 6


def test_a_mean_curve_has_peaked_no_sooner_than_at_its_best_epoch_and_after_its_schedule():
    run = Trial(0, "triplet", {}, 0, 99, patience=3)
    late = [0.1, 0.5, *[0.4] * 8, 0.5000001, 0.3]
    assert settled_after(late, run) == 11, "flat before it, but the winner is retrained so long"
    assert settled_after([0.1, 0.5, *[0.4] * 10], run) == 5
    assert settled_after([0.1, 0.5, *[0.4] * 10], replace(run, least=9)) == 9
    assert settled_after([0.1 * epoch for epoch in range(5)], run) == 5
