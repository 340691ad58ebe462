"""A small bench beside the study: its studies are studies like any other."""

from __future__ import annotations

from story_known import Known
from story_looks import after_search
from story_tell import Story
from story_traps import KILL, Trap

_METHODS = ("triplet", "cca")
_SMALL = """
method: triplet
space:
  lr: {type: float, low: 5e-4, high: 5e-2, log: true}
  hidden_dim: 8
  embedding_dim: 4
  batch_size: 16
"""


def bench(story: Story, fault: tuple[Trap | None, float | None]) -> None:
    """The bench begins or goes on; what is there of its studies is checked."""
    folder = story.world.folder
    data = story.studies[0].data
    (folder / "small.yaml").write_text(_SMALL)
    words = ["bench", data.name, "--methods", ",".join(_METHODS), "--space", "triplet=small.yaml", "--name", "b"]
    words.append("--no-reference")
    words += ["--trials", "2", "--epochs", "2", "--seeds", "1", "--runner", "inline", "--gpus", "0"]
    known = {path: one for one in story.studies for path in [one.root]}
    roots = [folder / "results" / "b" / method for method in _METHODS]
    mine = [known[root] for root in roots if root in known]
    before = story.others(*mine)
    trap, seconds = fault
    ended = story.command(words, trap=trap, kill_after=seconds)
    story.untouched(before)
    for root in roots:
        if not (root / "study.yaml").is_file():
            continue
        one = known.get(root)
        if one is None:
            one = Known(root, data, bench=True)
            story.studies.append(one)
        one.current = ended.code == 0  # what a kill left undone in a study is done when the bench goes on
        for text in after_search(one):
            story.problem(f"{root.name}: {text}")
        story.check(one, in_order=ended.code == 0)
    if ended.code == 0 and len([root for root in roots if root in {one.root for one in story.studies}]) != len(roots):
        story.problem("the bench has ended well and lacks a study")
    if trap is not None and trap.what == KILL and ended.sprung:
        story.actions["bench: killed"] += 1
