"""An engine's lane groups say to developers which trial is in which."""

from engine_of import EngineRun, make_trials


def test_a_group_is_made_joined_and_dropped(caplog):
    caplog.set_level("DEBUG", "avtune.engine.groups")
    EngineRun(make_trials("triplet", {0: 0.1, 1: 0.2}, epochs=1), capacity=2).run()
    made, joined, dropped = caplog.messages
    assert made.startswith("trial 0: a new group of 2 lanes, ('triplet', 'fp32', ")
    assert joined == "trial 1: a group of 1 trials"
    assert dropped == "a group of 2 lanes is dropped, 0 groups are left"
