"""The order in which runs of the finals are given out: nothing is lost, and engines get alike parts."""

from hypothesis import given
from hypothesis import strategies as st

from avtune.core.trial import Trial
from avtune.finals.finish import _shared
from avtune.finals.run_record import RunRecord
from avtune.finals.turns import in_turns


def run(margin, seed, **config):
    return Trial(0, "psd", {"margin": margin, **config}, seed, 1)


def test_the_first_seeds_of_all_configurations_come_first():
    runs = [run(margin, seed) for margin in (0.1, 0.2) for seed in range(3)]
    assert in_turns(runs, _shared) == [0, 3, 1, 4, 2, 5]
    uneven = [*runs[:3], runs[3]]
    assert in_turns(uneven, _shared) == [0, 3, 1, 2]


def test_configurations_that_share_no_tensors_are_not_mixed():
    runs = [
        run(margin, seed, batch_size=size) for margin, size in ((0.1, 64), (0.2, 128), (0.3, 64)) for seed in (0, 1)
    ]
    assert in_turns(runs, _shared) == [0, 4, 1, 5, 2, 3]


def test_a_value_that_is_not_given_is_the_default():
    runs = [run(0.1, 0), run(0.2, 0, batch_size=64), run(0.1, 1)]
    assert _shared(run(0.1, 0)) == _shared(run(0.1, 0, batch_size=256))
    assert in_turns(runs, _shared) == [0, 2, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([64, 128])), max_size=20))
def test_every_run_is_given_out_once_and_seeds_in_their_order(drawn):
    runs = [run(margin, seed, batch_size=size) for seed, (margin, size) in enumerate(drawn)]
    order = in_turns(runs, _shared)
    assert sorted(order) == list(range(len(runs)))
    for one in runs:
        seeds = [runs[place].seed for place in order if runs[place].config == one.config]
        assert seeds == sorted(seeds)


def test_half_of_the_runs_of_each_configuration_are_in_each_half():
    runs = [run(margin, seed) for margin in range(4) for seed in range(2)]
    order = in_turns(runs, _shared)
    assert {runs[place].config["margin"] for place in order[:4]} == {0, 1, 2, 3}


def test_a_record_gives_runs_out_in_that_order_and_returns_results_as_listed(tmp_path):
    runs = [run(margin, seed) for margin in (0.1, 0.2) for seed in range(2)]

    def record():
        return RunRecord(
            tmp_path / "repeats.jsonl",
            runs,
            on_done=lambda done, total: None,
            note=lambda text: None,
            order=in_turns(runs, _shared),
        )

    first, asked = record(), []
    while (trial := first.ask()) is not None:
        asked.append((trial.config["margin"], trial.seed))
        first.report(trial.number, 1, {"val_map": trial.config["margin"] + trial.seed, "seconds": 1.0})
        first.tell(trial.number)
    assert asked == [(0.1, 0), (0.2, 0), (0.1, 1), (0.2, 1)]
    assert [result.curve[1] for result in first.results] == [0.1, 1.1, 0.2, 1.2]
    again = record()
    assert again.exhausted
    assert again.ask() is None
