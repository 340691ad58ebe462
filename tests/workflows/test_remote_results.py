"""Studies in a bucket: what is there after a kill at any moment, who may write, and which copy is the newer one. The
bucket is fsspec's in memory; `test_remote_buckets.py` has servers. Long: every rule of what is there, who writes and
what a copy is worth is here once, on the same small bucket."""

import contextlib
import json
import os
import shutil
from dataclasses import replace
from itertools import count

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from avtune.cli.main import main
from avtune.core.errors import StorageError, UserError
from avtune.core.object_store import ObjectStore
from avtune.study.folder import StudyFolder
from avtune.workflows import remote_copy, remote_results, remote_states
from avtune.workflows.remote_copy import RemoteCopy, TakenOver
from avtune.workflows.remote_results import Clock, RemoteResults, this_machine
from avtune.workflows.remote_states import RemoteStates, Worker

_NUMBERS = count()


class Bucket(ObjectStore):
    """A bucket in memory. It stops serving before its `left`-th change, as a machine does that is killed."""

    def __init__(self, root=None, left=None):
        super().__init__(MemoryFileSystem(), root or f"/bucket{next(_NUMBERS)}", "s3://bucket/results")
        self.left = left if left is not None else [None]

    def below(self, name):
        made = Bucket(f"{self._root}/{name}", self.left)
        made.url = f"{self.url}/{name}"
        return made

    def _change(self):
        if self.left[0] is not None:
            self.left[0] -= 1
            if self.left[0] < 0:
                raise StorageError("killed")

    def write(self, name, data):
        self._change()
        super().write(name, data)

    def create(self, name, data):
        self._change()
        return super().create(name, data)

    def delete(self, names):
        for name in names:
            self._change()
            super().delete([name])


class Passing(Clock):
    """Seconds that pass when they are waited for; something may happen then."""

    def __init__(self, happens=lambda: None):
        self.time = 0.0

        def sleep(seconds):
            self.time += seconds
            happens()

        super().__init__(lambda: self.time, sleep)

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Parts of ten bytes, copies below the test's folder, and no thread but this one."""
    monkeypatch.setattr(remote_states, "PART", 10)
    monkeypatch.setattr(remote_copy, "PART", 10)
    monkeypatch.setattr(remote_results, "_SIGN", 3600.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))


@pytest.fixture
def bucket():
    return Bucket()


def copy_at(bucket, folder):
    return RemoteCopy(RemoteStates(bucket.below("one")), folder / "one")


def filled(folder, curves="a\n", **more):
    (folder / "final").mkdir(parents=True, exist_ok=True)
    for name, text in {"study.yaml": "s", "curves.jsonl": curves, "final/config.yaml": "c", **more}.items():
        (folder / name).write_text(text)


def held(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def started(bucket, folder):
    """The copy of a process that works on the study."""
    made = copy_at(bucket, folder)
    made.fetch()
    made.claim("process 1 on a")
    return made


def from_elsewhere(bucket, tmp_path, curves="1\n"):
    """A study that another machine has left in the bucket."""
    there = started(bucket, tmp_path / "there")
    filled(tmp_path / "there" / "one", curves)
    there.send()
    return there


# --- there and back


def test_what_is_sent_is_what_is_brought(bucket, tmp_path):
    first = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "line 1\nline 2\n", lock="process 1", **{".torn-12345678": "x"})
    (tmp_path / "a" / "one" / "lanes").mkdir()
    (tmp_path / "a" / "one" / "lanes" / "3.safetensors").write_text("weights")
    os.utime(tmp_path / "a" / "one" / "curves.jsonl", (1000.5, 1000.5))
    assert first.send()
    assert not first.send(), "nothing has changed"
    second = copy_at(bucket, tmp_path / "b")
    assert second.fetch()
    expected = {"study.yaml": "s", "curves.jsonl": "line 1\nline 2\n", "final/config.yaml": "c"}
    assert held(tmp_path / "b" / "one") == expected
    assert (tmp_path / "b" / "one" / "curves.jsonl").stat().st_mtime == 1000.5
    assert first.send(lanes=True)
    assert second.fetch()
    assert held(tmp_path / "b" / "one") == expected | {"lanes/3.safetensors": "weights"}


def test_of_a_file_that_grows_the_end_is_sent_again_and_old_parts_go(bucket, tmp_path):
    copy = started(bucket, tmp_path)
    sent = []
    copy.states.add_part, add = (lambda digest, data: (sent.append(data), add(digest, data))), copy.states.add_part
    for curves in ("0123456789abc", "0123456789abcdef", "0123456789abcdefghijklmn"):
        filled(tmp_path / "one", curves)
        copy.send()
    assert sent == [b"0123456789", b"abc", b"c", b"s", b"abcdef", b"abcdefghij", b"klmn"]
    kept = copy.states.parts()
    filled(tmp_path / "one", "0123456789abcdefghijklmn", log="l")
    copy.send()
    assert len(kept - copy.states.parts()) == 1, "the end of a state that is kept no more"
    assert len(bucket.below("one/states").names()) == remote_states.KEPT


def test_after_a_kill_at_any_moment_there_is_the_state_of_before_or_the_next(tmp_path):
    reached = set()
    for number in count():
        bucket, folder = Bucket(), tmp_path / str(number)
        copy = started(bucket, folder)
        filled(folder / "one", "before\n" * 3)
        copy.send()
        before = held(folder / "one")
        filled(folder / "one", "before\n" * 3 + "after\n" * 4, log="more")
        bucket.left[0] = number
        try:
            copy.send()
        except StorageError:
            ended = False
        else:
            ended = True
        bucket.left[0] = None
        other = copy_at(bucket, folder / "other")
        other.fetch()
        found = held(folder / "other" / "one")
        assert found in (before, held(folder / "one")), number
        reached.add(found == before)
        other.claim("process 2 on b")  # which goes on, and takes away what was left half sent
        filled(folder / "other" / "one", "before\n" * 3 + "after\n" * 4, log="other")
        other.send()
        filled(folder / "other" / "one", "before\n" * 3 + "after\n" * 4, log="another")
        other.send()
        kept = [other.states.state(number) for number in other.states.numbers()]
        assert len(kept) == remote_states.KEPT
        assert other.states.parts() == kept[0].parts | kept[1].parts
        if ended:
            break
    assert reached == {True, False}


def test_who_reads_while_states_go_reads_another(bucket, tmp_path):
    copy = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "first")
    copy.send()
    reader = copy_at(bucket, tmp_path / "b")
    part = reader.states.part

    def late(digest):
        """Two further states have been written since the reader read the last one."""
        reader.states.part = part
        for text in ("second", "third"):
            filled(tmp_path / "a" / "one", text, **{"study.yaml": text})
            copy.send()
        return part(digest)

    reader.states.part = late
    assert reader.fetch()
    assert held(tmp_path / "b" / "one")["curves.jsonl"] == "third"


# --- which copy


def test_a_copy_that_is_ahead_of_the_bucket_stays_and_one_that_is_behind_goes(bucket, tmp_path):
    first = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "1\n")
    first.send()
    filled(tmp_path / "a" / "one", "1\n2\n")  # and is killed
    again = copy_at(bucket, tmp_path / "a")
    again.fetch()
    assert held(tmp_path / "a" / "one")["curves.jsonl"] == "1\n2\n"
    second = started(bucket, tmp_path / "b")
    filled(tmp_path / "b" / "one", "1\nother\n")
    second.send()
    again.fetch()
    assert held(tmp_path / "a" / "one")["curves.jsonl"] == "1\nother\n"


def test_a_copy_of_an_earlier_state_of_the_same_process_is_not_taken_for_its_last(bucket, tmp_path):
    first = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "1\n")
    first.send()
    second = copy_at(bucket, tmp_path / "b")
    second.fetch()
    filled(tmp_path / "a" / "one", "1\n2\n")
    first.send()
    with pytest.raises(TakenOver, match="has just been taken by another avtune"):
        second.claim("process 2 on b")
    second.fetch()
    assert held(tmp_path / "b" / "one")["curves.jsonl"] == "1\n2\n"


def unsent(remote):
    return sorted(path.name for path in remote.here.glob("one-unsent-*"))


@pytest.mark.parametrize("cause", ["killed", "taken over", "the bucket failed"])
def test_what_was_not_sent_is_kept_when_another_machine_has_continued(bucket, tmp_path, cause):
    search = results(bucket, [])
    folder = search.take("one")
    filled(folder, "1\n")
    search._held["one"].step(send=True)
    filled(folder, "1\n2\n")
    if cause == "killed":
        search._held["one"]._lock.release()
    if cause == "the bucket failed":
        bucket.left[0] = 0
        with pytest.raises(StorageError, match=f"what is missing there is in {folder}; the same command sends it"):
            search.close()
        bucket.left[0] = None
    from_elsewhere(bucket, tmp_path, "1\nother\n")
    if cause == "taken over":
        with pytest.raises(TakenOver, match=f"what this one has is in {folder}"):
            search.close()
    said, reader = [], results(bucket, [], changes=False)
    for _ in range(2):
        assert results(bucket, said, changes=False).take("one") == folder
    assert held(folder)["curves.jsonl"] == "1\nother\n"
    (kept,) = unsent(reader)
    assert held(reader.here / kept)["curves.jsonl"] == "1\n2\n"
    assert said == [
        "note: s3://bucket/results/one has been continued elsewhere; what this machine had not sent is kept in "
        f"{reader.here / kept}"
    ]


def test_nothing_is_kept_of_what_was_sent_or_only_read(bucket, tmp_path):
    said = []
    with results(bucket, said) as search:
        filled(search.take("one"), "1\n")
    for curves in ("1\n2\n", "1\n2\n3\n"):
        from_elsewhere(bucket, tmp_path, curves)
        folder = results(bucket, said, changes=False).take("one")
        assert held(folder)["curves.jsonl"] == curves
        (folder / "report.html").write_text("made again")
    assert (said, unsent(search)) == ([], [])


def test_a_look_that_was_counted_in_the_copy_is_kept(bucket, tmp_path):
    """`avtune evaluate` takes no URL, and is given the path of the copy."""
    from_elsewhere(bucket, tmp_path)
    search = results(bucket, [])
    for curves in ("1\n2\n", "1\n2\n3\n"):
        folder = results(bucket, [], changes=False).take("one")
        (folder / "scored.jsonl").write_text("a look\n")
        from_elsewhere(bucket, tmp_path, curves)
    assert results(bucket, [], changes=False).take("one") == folder
    first, second = unsent(search)
    assert second == f"{first}-2", "of one day"
    assert held(search.here / second)["scored.jsonl"] == "a look\n"


def test_who_did_not_get_a_study_has_nothing_unsent(bucket, tmp_path, monkeypatch):
    from_elsewhere(bucket, tmp_path)
    add = RemoteStates.add

    def late(states, state):
        monkeypatch.setattr(RemoteStates, "add", add)
        from_elsewhere(bucket, tmp_path, "1\n2\n")
        return add(states, state)

    monkeypatch.setattr(RemoteStates, "add", late)
    search = results(bucket, [])
    with pytest.raises(TakenOver, match="has just been taken"):
        search.take("one")
    assert results(bucket, [], changes=False).take("one") == search.here / "one"
    assert held(search.here / "one")["curves.jsonl"] == "1\n2\n"
    assert unsent(search) == []


def test_what_a_kill_left_of_a_copy_that_was_brought_goes_with_the_next_look(bucket, tmp_path, monkeypatch):
    from_elsewhere(bucket, tmp_path)
    reader = results(bucket, [], changes=False)
    reader.take("one")
    from_elsewhere(bucket, tmp_path, "1\n2\n")
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
        reader.take("one")
        while_parts_come(killed, lambda: 1 // 0)
        from_elsewhere(bucket, tmp_path, "1\n2\n3\n")
        with pytest.raises(ZeroDivisionError):
            reader.take("one")
    (reader.here / ".one-two-12345678").mkdir()  # of a study `one-two`, which another process brings
    left = {path.name for path in reader.here.glob(".one-*")}
    assert len(left) == 3
    assert {name.endswith("-before") for name in left} == {True, False}
    for _ in range(2):
        reader.take("one")
        assert [path.name for path in reader.here.glob(".one-*")] == [".one-two-12345678"]


# --- deleted there


def test_a_study_that_was_deleted_there_does_not_come_back(bucket):
    with results(bucket, []) as search:
        filled(search.take("one"))
    folder = search.here / "one"
    bucket.delete(bucket.names())
    with pytest.raises(UserError, match=f"^s3://bucket/results/one is not in the bucket; a copy of it is in {folder}$"):
        results(bucket, [], changes=False).take("one")
    with pytest.raises(UserError, match="one is not in the bucket; a copy"):
        results(bucket, [], makes=False).take("one")
    with pytest.raises(
        UserError, match=rf"not in the bucket any more, and {folder} is a copy of it\ndelete that folder"
    ):
        results(bucket, []).take("one")
    assert bucket.names() == []
    shutil.rmtree(folder)
    with results(bucket, []) as search:
        assert not search.take("one").exists()
    assert results(bucket, [], changes=False).take("one") == folder


def test_a_copy_of_another_name_is_sent_as_a_study(bucket):
    with results(bucket, []) as search:
        filled(search.take("one"))
    (search.here / "one").rename(search.here / "one-unsent-2030-01-01")
    with results(bucket, []) as again:
        again.take("one-unsent-2030-01-01")
    assert RemoteStates(bucket.below("one-unsent-2030-01-01")).latest().files.keys() >= {"study.yaml"}


def test_what_is_only_here_is_in_no_table_of_the_bucket(bucket, capsys, monkeypatch):
    monkeypatch.setattr(remote_results, "store_at", lambda url: bucket)
    assert main(["status", "--results", "s3://bucket/results"]) == 0
    assert capsys.readouterr().out == "no studies in s3://bucket/results; `avtune search demo` makes one\n"
    for name in ("gone", "half gone", "stays"):
        with results(bucket, []) as search:
            filled(search.take(name.replace(" ", "-")))
    bucket.below("gone").delete(bucket.below("gone").names())
    bucket.below("half-gone/states").delete(bucket.below("half-gone/states").names())
    assert main(["status", "--results", "s3://bucket/results", "--json"]) == 0
    said = capsys.readouterr()
    assert [row["study"] for row in json.loads(said.out)] == ["stays"]
    assert said.err == f"avtune: note: not in s3://bucket/results, but copies are in {search.here}: gone, half-gone\n"


# --- one process at a time


def test_who_was_taken_over_writes_nothing_any_more(bucket, tmp_path):
    first = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "1\n")
    first.send()
    second = started(bucket, tmp_path / "b")
    filled(tmp_path / "a" / "one", "1\nlate\n")
    with pytest.raises(TakenOver, match=r"has been taken over by another avtune.*is in .*a/one"):
        first.send()
    filled(tmp_path / "b" / "one", "1\nmine\n")
    second.send()
    third = copy_at(bucket, tmp_path / "c")
    third.fetch()
    assert held(tmp_path / "c" / "one")["curves.jsonl"] == "1\nmine\n"


def test_who_slept_while_another_wrote_many_states_changes_nothing(bucket, tmp_path, monkeypatch):
    first = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one", "1\n")
    first.send()
    second = started(bucket, tmp_path / "b")
    for number in range(remote_states.KEPT + 2):  # the state of the first, and its next number, are deleted
        filled(tmp_path / "b" / "one", "1\n" + number * "later\n")
        second.send()
    before = sorted(bucket.names())
    filled(tmp_path / "a" / "one", "1\nlate\n")
    with pytest.raises(TakenOver):
        first.send()
    assert sorted(bucket.names()) == before
    monkeypatch.setattr(first.states, "overtaken", lambda state: False)  # it slept after it had looked
    with pytest.raises(TakenOver):
        first.send()
    assert [name for name in sorted(bucket.names()) if "states/" in name] == [one for one in before if "states/" in one]
    assert copy_at(bucket, tmp_path / "c").fetch()
    assert held(tmp_path / "c" / "one")["curves.jsonl"].count("later") == remote_states.KEPT + 1
    assert set(bucket.names()) > set(before), "a part that no state needs, which whoever works there next deletes"
    third = started(bucket, tmp_path / "c")
    filled(tmp_path / "c" / "one", "2\n")
    third.send()
    filled(tmp_path / "c" / "one", "3\n")
    third.send()
    states = [third.states.state(number) for number in third.states.numbers()]
    assert third.states.parts() == set().union(*(state.parts for state in states))


def results(bucket, said, *, changes=True, makes=True, happens=lambda: None, lost=lambda: None):
    url = "s3://bucket/results"
    makes = changes and makes
    return RemoteResults(
        url, changes=changes, makes=makes, say=said.append, lost=lost, store=bucket, clock=Passing(happens)
    )


def at_work(bucket, machine="b", process=7, ended=False):
    states = RemoteStates(bucket.below("one"))
    worker = Worker("other", f"process {process} on {machine}", process, machine, 1, 0.0, ended)
    states.set_worker(worker)
    return states, worker


def test_a_study_on_which_another_works_is_refused(bucket):
    states, worker = at_work(bucket)

    def signs():
        states.set_worker(Worker(**vars(worker) | {"sign": 2}))

    said = []
    with pytest.raises(UserError, match=r"s3://bucket/results/one is being worked on by .* \(process 7 on b\); wait"):
        results(bucket, said, happens=signs).take("one")
    assert said == ["note: s3://bucket/results/one was worked on by process 7 on b; waiting 60 s for a sign of it"]
    assert states.latest() is None, "nothing was taken"


@pytest.mark.parametrize(
    ("worker", "waits"),
    [
        pytest.param({}, True, id="dead on another machine"),
        pytest.param({"ended": True}, False, id="ended"),
        pytest.param({"machine": this_machine(), "process": 2**22 + 1}, False, id="dead on this machine"),
    ],
)
def test_a_study_whose_process_is_dead_is_taken(bucket, worker, waits):
    states, _ = at_work(bucket, **worker)
    said = []
    with results(bucket, said) as remote:
        filled(remote.take("one"))
        assert remote.take("one") == remote.here / "one", "which is held already"
        (remote.here / "one" / "lanes").mkdir()
        (remote.here / "one" / "lanes" / "3").touch()  # of a running trial: sent at the end
        remote._held["one"].step(send=True)
        assert "lanes/3" not in states.latest().files
    assert bool(said) == waits
    assert states.latest().files.keys() == {"study.yaml", "curves.jsonl", "final/config.yaml", "lanes/3"}
    assert states.worker().ended


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not yet signed"])
def test_who_is_taken_over_is_told_so_and_says_where_its_files_are(bucket, tmp_path, signed):
    def search():
        with results(bucket, [], lost=lambda: lost.append(1)) as remote:
            filled(remote.take("one"))
            started(bucket, tmp_path / "b")
            if signed:
                at_work(bucket)
            remote._held["one"].step(send=True)
            assert lost == [1]
            raise KeyboardInterrupt

    lost = []
    with pytest.raises(TakenOver, match="has been taken over by another avtune"):
        search()
    states = RemoteStates(bucket.below("one"))
    assert states.latest().number == 2, "the other's"
    assert not signed or (states.worker().by, states.parts()) == ("other", set())


def test_a_bucket_that_fails_is_tried_again_and_said_once(bucket):
    said = []
    with results(bucket, said) as remote:
        filled(remote.take("one"))
        study = remote._held["one"]
        for left in (0, 0, None):
            bucket.left[0] = left
            study.step(send=True)
        assert said == ["note: killed; trying again every 3600 s", "note: s3://bucket/results/one can be written again"]
        assert [line[26:] for line in (remote.here / "one" / "log.txt").read_text().splitlines()] == [
            line.removeprefix("note: ") for line in said
        ]
        bucket.left[0] = 0
        filled(remote.here / "one", "more")
        with pytest.raises(StorageError, match=r"killed\nwhat is missing there is in .*; the same command sends it"):
            remote.close()
    bucket.left[0] = None
    with results(bucket, said), results(bucket, said) as again:
        again.take("one")
    assert RemoteStates(bucket.below("one")).latest().files["curves.jsonl"].size == 4


@pytest.mark.parametrize("data", [b"{}", b"{", b"\xff"])
def test_a_damaged_sign_of_life_is_written_again(bucket, data):
    said, signs = [], bucket.below("one")
    with results(bucket, said) as remote:
        filled(remote.take("one"))
        signs.write("worker", data)
        assert results(bucket, said, changes=False).take("one") == remote.here / "one"
        remote._held["one"].step(send=True)
        assert RemoteStates(signs).worker().owner == f"process {os.getpid()} on {os.uname().nodename}"
    assert said == []
    signs.write("worker", data)
    with results(bucket, said) as again:
        again.take("one")
    assert said == ["note: s3://bucket/results/one was worked on by an unknown process; waiting 60 s for a sign of it"]
    signs.write("worker", data)
    with pytest.raises(UserError, match=r"is being worked on by another avtune \(process 7 on b\)"):
        results(bucket, said, happens=lambda: at_work(bucket)).take("one")


def test_a_damaged_sign_of_life_of_another_is_not_written_over(bucket, tmp_path):
    remote = results(bucket, [])
    filled(remote.take("one"))
    started(bucket, tmp_path / "b")
    bucket.below("one").write("worker", b"{}")
    remote._held["one"].step(send=False)
    with pytest.raises(TakenOver):
        remote.close()
    assert bucket.below("one").read("worker") == b"{}"


def test_what_is_damaged_in_the_bucket_is_said_once_and_tried_again(bucket):
    said, states = [], bucket.below("one/states")
    with results(bucket, said) as remote:
        filled(remote.take("one"))
        states.write("0000000009", b"{}")
        for _ in range(2):
            remote._held["one"].step(send=True)
        states.delete(["0000000009"])
        remote._held["one"].step(send=True)
    assert said == [
        "note: s3://bucket/results/one/states/0000000009 is damaged: format is missing; restore it from a copy; trying "
        "again every 3600 s",
        "note: s3://bucket/results/one can be written again",
    ]


def test_a_mistake_in_what_sends_ends_the_command_and_is_raised(bucket, monkeypatch):
    def search():
        with results(bucket, [], lost=lambda: lost.append(1)) as remote:
            filled(remote.take("one"))
            remote._held["one"].step(send=True)
            raise KeyboardInterrupt  # as the signal that `lost` sends does

    lost = []
    monkeypatch.setattr(RemoteCopy, "send", lambda copy, lanes=False: 1 // 0)
    said = (
        r"^what sends to s3://bucket/results/one has failed \(ZeroDivisionError: .*\); details in .*/log.txt\nthe same"
    )
    with pytest.raises(UserError, match=said):
        search()
    assert lost == [1]
    log = (results(bucket, [], changes=False).here / "one" / "log.txt").read_text()
    assert "1 // 0" in log
    assert not RemoteStates(bucket.below("one")).worker().ended


def test_a_store_without_conditional_writes_is_refused(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(Bucket, "create", lambda store, name, data: store.write(name, data) or True)
    with pytest.raises(UserError, match="this store knows no conditional writes"):
        started(bucket, tmp_path)


def test_a_state_whose_answer_was_lost_is_nobody_elses(bucket, tmp_path, monkeypatch):
    """The store has made it; whoever asks again is told that it is there."""
    create, answers = Bucket.create, ["it is there"]

    def lost(store, name, data):
        made = create(store, name, data)
        answer = answers.pop() if answers else ""
        if answer == "none":
            raise StorageError("no answer")
        return made and answer != "it is there"

    monkeypatch.setattr(Bucket, "create", lost)
    copy = started(bucket, tmp_path)
    filled(tmp_path / "one")
    answers.append("it is there")
    assert copy.send()
    assert copy.states.numbers() == [1, 2]
    filled(tmp_path / "one", "a\nb\n")
    answers.append("none")
    with pytest.raises(StorageError, match="no answer"):
        copy.send()
    filled(tmp_path / "one", "a\nb\nc\n")
    assert copy.send()
    assert copy.states.numbers() == [3, 4]
    assert copy.states.latest().files["curves.jsonl"].size == 6
    assert not copy.send()


# --- one process at a time on this machine


def while_parts_come(monkeypatch, happens):
    """Something happens once, before the first part of a study arrives."""
    part, once = RemoteStates.part, [happens]

    def slow(states, digest):
        if once:
            once.pop()()
        return part(states, digest)

    monkeypatch.setattr(RemoteStates, "part", slow)


@pytest.mark.parametrize("changes", [True, False], ids=["search", "another reader"])
def test_while_a_copy_is_brought_others_wait(bucket, tmp_path, monkeypatch, changes):
    from_elsewhere(bucket, tmp_path)
    reader, said = results(bucket, [], changes=False), []

    def another():
        with pytest.raises(InterruptedError):
            results(bucket, said, changes=changes, happens=leaves).take("one")

    def leaves():
        raise InterruptedError

    while_parts_come(monkeypatch, another)
    folder = reader.take("one")
    assert said == [f"note: {folder} is being brought by another avtune; waiting for it"]
    assert (folder / "curves.jsonl").read_text() == "1\n"
    with results(bucket, []) as search:
        assert search.take("one") == folder, "which waits for nobody any more"


def test_reading_leaves_a_copy_alone_on_which_a_search_works(bucket, tmp_path):
    there = from_elsewhere(bucket, tmp_path)
    search = results(bucket, [])
    curves = search.take("one") / "curves.jsonl"
    with curves.open("a") as file:
        there.fetch()
        there.claim("process 1 on a")  # the state there is not from here any more
        assert results(bucket, [], changes=False).take("one") == curves.parent
        file.write("2\n")
    assert curves.read_text() == "1\n2\n"
    with pytest.raises(UserError, match=rf"{curves.parent} is being worked on by another avtune \(process \d+ on"):
        results(bucket, []).take("one")
    with pytest.raises(TakenOver):
        search.close()


def test_a_study_that_is_locked_while_it_is_brought_stays(bucket, tmp_path, monkeypatch):
    """By a command that names the copy by its path."""
    from_elsewhere(bucket, tmp_path)
    folder = results(bucket, [], changes=False).take("one")
    from_elsewhere(bucket, tmp_path, "1\n2\n")
    with contextlib.ExitStack() as until:
        while_parts_come(monkeypatch, lambda: until.enter_context(StudyFolder(folder).locked()))
        results(bucket, [], changes=False).take("one")
        assert (folder / "lock").is_file()
        assert (folder / "curves.jsonl").read_text() == "1\n"
        states = RemoteStates(bucket.below("one"))
        with pytest.raises(UserError, match=f"{folder} is being worked on by another avtune"):
            results(bucket, []).take("one")
        assert states.latest().number == 4, "what is older here does not become the next state there"
    results(bucket, [], changes=False).take("one")
    assert (folder / "curves.jsonl").read_text() == "1\n2\n"


# --- looking


def test_who_works_on_a_study_elsewhere_is_seen(bucket):
    with results(bucket, []) as remote:
        filled(remote.take("one"))
    states, worker = at_work(bucket)
    for time, owner in ((0.0, None), (1e12, "process 7 on b, a sign of it is 0 s old")):
        states.set_worker(Worker(**vars(worker) | {"time": time}))
        folder = results(bucket, [], changes=False).take("one")
        assert StudyFolder(folder).owner() == owner
        assert StudyFolder(folder).results == "s3://bucket/results"
        assert (folder / "curves.jsonl").read_text() == "a\n"
    assert states.latest().number == 2, "looking takes nothing"


def test_who_works_on_it_elsewhere_does_not_keep_later_states_from_here(bucket, tmp_path):
    there = started(bucket, tmp_path / "a")
    states, worker = at_work(bucket)
    states.set_worker(Worker(**vars(worker) | {"time": 1e12}))
    for text in ("1\n", "1\n2\n"):
        filled(tmp_path / "a" / "one", text)
        there.send()
        folder = results(bucket, [], changes=False).take("one")
        assert StudyFolder(folder).owner() is not None
        assert (folder / "curves.jsonl").read_text() == text


def test_all_studies_are_brought(bucket):
    for name in ("one", "two"):
        with results(bucket, []) as remote:
            filled(remote.take(name), name)
    bucket.below(".hidden").write("worker", b"{}")  # no name of a study
    here = results(bucket, [], changes=False)
    here.take_all()
    beside = [f".{name}.{kind}" for name in ("one", "two") for kind in ("json", "lock")]
    assert sorted(path.name for path in here.here.iterdir()) == [*beside, ".url", "one", "two"]
    assert [(here.here / name / "curves.jsonl").read_text() for name in ("one", "two")] == ["one", "two"]


def test_a_name_that_is_none_is_said_with_those_that_are_there(bucket, capsys, monkeypatch):
    monkeypatch.setattr(remote_results, "store_at", lambda url: bucket)
    with results(bucket, []) as remote:
        filled(remote.take("one"))
    assert main(["status", "--results", "s3://bucket/results"]) == 0
    assert main(["status", "on", "--results", "s3://bucket/results"]) == 2
    said = capsys.readouterr()
    assert "one: " in said.out, "it is damaged"
    assert said.err.startswith(
        "avtune: no study is called 'on' in s3://bucket/results; did you mean 'one'?\nstudies in"
    )


@pytest.mark.parametrize("words", [["finish", "typo"], ["retrain", "typo", "--trial", "0"]])
def test_a_study_that_is_not_there_is_not_made_by_who_only_continues(bucket, words, capsys, monkeypatch):
    monkeypatch.setattr(remote_results, "store_at", lambda url: bucket)
    for _ in range(2):
        assert main([*words, "--results", "s3://bucket/results"]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "avtune: no study is called 'typo' in s3://bucket/results\n")
    assert bucket.names() == []


def test_a_study_of_which_only_its_search_knows_is_continued(bucket):
    search = results(bucket, [])
    filled(search.take("one"))
    search._held["one"]._lock.release()  # killed before anything was sent
    states = RemoteStates(bucket.below("one"))
    states.set_worker(replace(states.worker(), ended=True))
    with results(bucket, [], makes=False) as finish:
        finish.take("one")
    assert states.latest().files.keys() >= {"study.yaml"}


def test_a_job_of_slurm_is_given_the_bucket(bucket, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(remote_results, "store_at", lambda url: bucket)
    monkeypatch.chdir(tmp_path)
    words = ["search", "demo", "--slurm", "nodes=2", "--dry-run", "--results", "s3://bucket/results"]
    monkeypatch.setattr("sys.argv", ["avtune", *words])
    assert main(words) == 0
    script = capsys.readouterr().out
    assert "-m avtune search demo --results s3://bucket/results --cluster" in script
    assert f"#SBATCH --output={tmp_path}/slurm/demo-%j.log" in script
    assert "does not see" not in script
    assert bucket.names() == [], "the job takes it, not who submits it"


def test_a_user_without_a_home_is_told_what_to_set(capsys, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert main(["status", "--results", "s3://bucket/results"]) == 2
    assert capsys.readouterr().err == (
        "avtune: --results s3://bucket/results works on copies below the home folder, and this user has none; set "
        "XDG_CACHE_HOME to a folder on a disk of this machine\n"
    )


# --- damage


@pytest.mark.parametrize("name", ["../one", "/one", "a/../../b", "a\\b", "", "a//b", "./a"])
def test_a_path_that_leads_elsewhere_is_refused(bucket, tmp_path, name):
    files = {name: {"size": 0, "time": 0.0, "parts": []}}
    state = {"format": 1, "by": "x", "owner": "x", "files": files}
    bucket.below("one/states").write("0000000001", json.dumps(state).encode())
    with pytest.raises(UserError, match="is no path in it; restore it from a copy"):
        copy_at(bucket, tmp_path).fetch()
    assert not (tmp_path / "one").exists()


def test_what_is_damaged_or_newer_is_said(bucket, tmp_path):
    copy = started(bucket, tmp_path / "a")
    filled(tmp_path / "a" / "one")
    copy.send()
    part = copy.state.files["curves.jsonl"].parts[0]
    objects, states = bucket.below("one/objects"), bucket.below("one/states")
    objects.write(part, b"other")
    with pytest.raises(UserError, match=f"objects/{part} is damaged; restore it from a copy"):
        copy_at(bucket, tmp_path / "b").fetch()
    assert list((tmp_path / "b").iterdir()) == [], "nothing half made is left"
    record = json.loads(states.read("0000000002"))
    newer = json.dumps(record | {"format": 2}).encode()
    odd = [{"size": 0, "time": 1e200, "parts": []}, {"size": 1, "time": 0.0, "parts": ["../../x"]}]
    late, linked = (json.dumps(record | {"files": {"a": file}}).encode() for file in odd)
    for data, said in (
        (b"{", "is damaged"),
        (b"{}", "^s3://bucket/results/one/states/0000000002 is damaged: format is missing"),
        (newer, "newer avtune"),
        (late, "the time of 'a'"),
        (linked, "the parts of 'a'"),
    ):
        states.write("0000000002", data)
        with pytest.raises(UserError, match=said):
            copy_at(bucket, tmp_path / "b").fetch()


# --- the command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "one", "toy.h5", "--results", "s3://b/r"], "avtune evaluate takes no URL as --results; allowed"),
        (["status", "--watch", "--results", "s3://b/r"], "--watch goes with studies on this machine"),
        (["status", "--results", "http://b/r"], "'http://b/r' is of a kind that avtune does not know; allowed: gs://"),
        (["status", "--results", "s3://"], "names no folder of a bucket; allowed: s3://BUCKET/FOLDER"),
        (["status", "--results", "s3://b/../r"], "names no folder of a bucket"),
    ],
)
def test_what_a_url_does_not_do_is_said(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_a_package_that_is_missing_is_said(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["status", "--results", "gs://b/r"]) == 2
    assert "gs:// needs the package gcsfs: pip install 'avtune[remote]'" in capsys.readouterr().err
