"""What the log says where an engine does without something that would be faster."""

import logging

from engine_of import SMALL, EngineRun

from avtune.core.trial import Trial
from avtune.engine.lane_trainer import LaneTrainer
from avtune.methods import check_config, get


def test_a_warning_is_a_line_of_the_log_once(monkeypatch, capfd):
    """Each epoch of each group would say it again."""
    usual = LaneTrainer._train_block

    def falls_back(lanes, block):
        logging.getLogger("avtune.engine.captured").warning("%s: a CUDA graph is not used: %s", "triplet", "why")
        logging.getLogger("avtune.engine.captured").debug("a step takes 1 ms")
        return usual(lanes, block)

    monkeypatch.setattr(LaneTrainer, "_train_block", falls_back)
    config = check_config(get("triplet"), SMALL)
    trials = [Trial(number, "triplet", config, seed=number, epochs=2) for number in range(3)]
    run = EngineRun(trials, capacity=2).run()
    assert run.notes == ["triplet: a CUDA graph is not used: why"]
    assert capfd.readouterr().err == ""
