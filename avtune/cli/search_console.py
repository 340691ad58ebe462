"""What a user reads of a search."""

from __future__ import annotations

from avtune.cli import console
from avtune.cli.data_text import problem_lines
from avtune.cli.plan_text import plan_lines
from avtune.cli.progress import Progress
from avtune.cli.result_text import failed_lines, result_lines
from avtune.space.space import Space
from avtune.study.best import read_best
from avtune.study.study import Study
from avtune.workflows.continuing import not_tried
from avtune.workflows.dataset_facts import dataset_line
from avtune.workflows.listening import Concluded, Planned


class SearchConsole(Progress):
    """A `workflows.listening.SearchListener` that prints. Use it as a context manager around the search.

    Args:
        brief: print the trials, but neither the plan nor the result: the search is one of several.
        title: of the table; empty for the study and its method.
    """

    def __init__(self, *, brief: bool = False, title: str = "") -> None:
        super().__init__(0)
        self._brief = brief
        self._title = title

    def begins(self, space: Space) -> None:
        self._total = space.search.trials
        if not self._brief:
            self.display.step("splitting the rows and starting the runner")

    def nothing_to_retry(self) -> None:
        console.say("nothing to retry: no trial and no finalist of this study has failed")

    def planned(self, plan: Planned) -> None:
        self.display.done()
        self._where, self._protocol = plan.where, plan.protocol
        if plan.repaired:
            console.say("the last line of a study file was cut off by a kill; it was repaired")
        console.say(*(f"changed: {change}" for change in plan.changes))
        if self._brief:
            console.say(*(f"note: {line}" for line in plan.limited))
            return
        console.say(*problem_lines(plan.problems), *(f"note: {note}" for note in plan.notes))
        console.say(
            *plan_lines(
                plan.horizon,
                dataset_line(plan.dataset),
                plan.where,
                plan.study,
                done=plan.done,
                protocol=plan.protocol,
                limited=plan.limited,
                nodes=plan.nodes,
            )
        )

    def finished_before(self) -> None:
        if not self._brief:
            console.say("this study is finished; here is its result again", "")

    def ended_early(self, why: str) -> None:
        self._say(why)

    def noted(self, text: str) -> None:
        self._say(f"note: {text}")

    def tracking(self, text: str) -> None:
        console.say(f"note: {text}")

    def concluded(self, end: Concluded) -> None:
        self.display.done()
        if not self._brief:
            console.say("", *_result(end.study, end))


def _result(study: Study, end: Concluded) -> list[str]:
    folder = study.folder
    kept = f"checkpoints  {folder.checkpoints}: trials {', '.join(map(str, end.kept))}"
    return [
        *([study.ended_early, ""] if study.ended_early else []),
        *result_lines(end.results, read_best(folder)),
        "",
        f"report       {folder.report_html}",
        f"model        {folder.final}",
        *([kept] if end.kept else []),
        *([f"time         {end.time}"] if end.time else []),
        *[f"note         {text}" for text in not_tried(study)],
        f"TensorBoard  avtune tensorboard {folder.root}",
        *failed_lines(study),
    ]
