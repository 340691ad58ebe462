"""What containers and job schedulers grant, read from trees of files as Linux shows them."""

import os
import resource
from functools import partial

import pytest
import torch
from toy import toy_prepared

from avtune.core import system
from avtune.core.errors import UserError
from avtune.core.trial import Trial
from avtune.engine.engine import Engine
from avtune.engine.messages import Orders
from avtune.runners import out_of_memory as lack
from avtune.runners import placement, thread_limit
from avtune.runners._base import Placement
from avtune.runners.placement import PlacementRequest, place
from avtune.workflows import doctor

GIB = 1 << 30
UNLIMITED = 9223372036854771712
MOUNTS = {
    "v2": "30 25 0:26 {base} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    "v1": "33 25 0:30 {base} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 25 0:32 {base} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "39 25 0:36 {base} /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
}
MEMBER = {"v2": "0::{group}\n", "v1": "9:pids:{group}\n4:memory:{group}\n2:cpu,cpuacct:{group}\n"}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes the files of a machine of 64 cores and 100 GiB, 90 of them available."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))

    def tree(version, files, group="/", base="/"):
        mounts = "22 1 0:20 / /proc rw - proc proc rw\n"
        member = "1:name=systemd:/\n"
        for one in version.split("+"):
            mounts += MOUNTS[one].format(base=base)
            member += MEMBER[one].format(group=group)
        if version == "v1+v2":  # as systemd has it: version 2 beside, without controllers
            mounts = mounts.replace("/sys/fs/cgroup rw,nosuid", "/sys/fs/cgroup/unified rw,nosuid")
        files = {"proc/self/mountinfo": mounts, "proc/self/cgroup": member} | files
        files |= {"proc/meminfo": f"MemTotal: {100 << 20} kB\nMemAvailable:   {90 << 20} kB\n"}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return tree


def v1(controller, group, **values):
    folder = {"cpu": "cpu,cpuacct"}.get(controller, controller)
    return {f"sys/fs/cgroup/{folder}{group}/{name.replace('__', '.')}": text for name, text in values.items()}


def v2(group, **values):
    return {f"sys/fs/cgroup{group}/{name.replace('__', '.')}": text for name, text in values.items()}


def test_a_machine_without_groups(tree):
    root = tree("v2", {})
    assert system.cores(root) == system.Allowance(64, "cores of the machine")
    assert system.memory(root) == system.Allowance(90 * GIB, "available on the machine")
    assert system.out_of_memory_kills(root) == 0


def test_affinity_counts(tree, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 9})
    assert system.cores(tree("v2", {})) == system.Allowance(2, "CPU affinity")


@pytest.mark.parametrize(
    ("quota", "cores"), [(100000, 1), (10000, 1), (150000, 2), (140000, 1), (250000, 3), (6300000, 63), (9000000, 64)]
)
def test_a_quota_is_rounded_to_whole_cores(tree, quota, cores):
    assert system.cores(tree("v2", v2("", cpu__max=f"{quota} 100000"))).amount == cores
    files = v1("cpu", "", cpu__cfs_quota_us=quota, cpu__cfs_period_us=100000)
    assert system.cores(tree("v1", files)).amount == cores


@pytest.mark.parametrize("text", ["max 100000", "", "0 0", "garbage", "100000"])
def test_no_quota(tree, text):
    assert system.cores(tree("v2", v2("", cpu__max=text))).amount == 64
    files = v1("cpu", "", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert system.cores(tree("v1", files)).amount == 64


@pytest.mark.parametrize("version", ["v1", "v1+v2"])
def test_the_narrowest_of_nested_groups_counts_in_version_1(tree, version):
    files = v1("cpu", "/job/step", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    files |= v1("cpu", "/job", cpu__cfs_quota_us=400000, cpu__cfs_period_us=100000)
    inner = v1("memory", "/job/step", memory__limit_in_bytes=8 * GIB, memory__usage_in_bytes=1 * GIB)
    outer = v1("memory", "/job", memory__limit_in_bytes=10 * GIB, memory__usage_in_bytes=5 * GIB)
    outer |= v1("memory", "/job", memory__stat=f"inactive_file 7\ntotal_inactive_file {GIB}")
    top = v1("memory", "", memory__limit_in_bytes=UNLIMITED, memory__usage_in_bytes=9 * GIB)
    root = tree(version, files | inner | outer | top, group="/job/step")
    assert system.cores(root) == system.Allowance(4, "CPU quota of 4 of the control group /job")
    assert system.memory(root) == system.Allowance(6 * GIB, "left of the 10.0 GiB of the control group /job")


def test_the_narrowest_of_nested_groups_counts_in_version_2(tree):
    files = v2("/a/b", cpu__max="max 100000", memory__max="max", memory__current=GIB)
    files |= v2("/a", cpu__max="200000 100000", memory__max=3 * GIB, memory__current=2 * GIB)
    files |= v2("/a", memory__stat=f"inactive_file {GIB // 2}\nactive_file 9", memory__high="max")
    root = tree("v2", files, group="/a/b")
    assert system.cores(root) == system.Allowance(2, "CPU quota of 2 of the control group /a")
    assert system.memory(root) == system.Allowance(3 * GIB // 2, "left of the 3.0 GiB of the control group /a")


def test_memory_high_counts_too(tree):
    files = v2("/a", memory__max=3 * GIB, memory__high=2 * GIB, memory__current=GIB)
    assert system.memory(tree("v2", files, group="/a")).amount == GIB


def test_version_1_knows_the_limits_of_groups_that_are_hidden(tree):
    files = v1("memory", "", memory__limit_in_bytes=UNLIMITED, memory__usage_in_bytes=GIB)
    files |= v1("memory", "", memory__stat=f"hierarchical_memory_limit {2 * GIB}")
    assert system.memory(tree("v1", files)).amount == GIB


@pytest.mark.parametrize(
    ("group", "base"),
    [("/", "/"), ("/docker/7f", "/docker/7f"), ("/../../docker/7f", "/"), ("/docker/7f", "/"), ("/x", "/docker/7f")],
)
def test_a_container_sees_its_own_group_at_the_top(tree, group, base):
    """Whatever its group is called in the namespace of the host."""
    files = v2("", cpu__max="300000 100000", memory__max=4 * GIB, memory__current=GIB)
    root = tree("v2", files, group, base)
    assert (system.cores(root).amount, system.memory(root).amount) == (3, 3 * GIB)


def test_more_is_used_than_is_allowed(tree):
    assert system.memory(tree("v2", v2("", memory__max=GIB, memory__current=2 * GIB))).amount == 0


def test_a_mount_point_with_a_space(tree):
    root = tree("v2", {"sys/fs/c group/cpu.max": "100000 100000"})
    mountinfo = root / "proc/self/mountinfo"
    mountinfo.write_text(mountinfo.read_text().replace("/sys/fs/cgroup", "/sys/fs/c\\040group"))
    assert system.cores(root).amount == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_kills_are_counted(tree, version):
    files = v1("memory", "/a", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3")
    files |= v2("/a", memory__events="low 0\noom 4\noom_kill 3")
    assert system.out_of_memory_kills(tree(version, files, group="/a")) == 3
    assert system.out_of_memory_kills(tree(version, {"proc/vmstat": "pgfault 1\noom_kill 2"}, group="/b")) == 2


def test_what_is_there_now_can_be_read():
    assert 1 <= system.cores().amount <= os.cpu_count()
    assert system.memory().amount > 1 << 20


@pytest.mark.parametrize(("left", "engines"), [(90, 8), (5.7, 5), (3, 2), (1, 1), (0.1, 1)])
def test_engines_are_as_many_as_there_is_memory_for(left, engines, monkeypatch):
    monkeypatch.setattr(placement, "usable_cores", lambda: 8)
    monkeypatch.setattr(placement, "available_memory", lambda: int(left * GIB))
    assert place(PlacementRequest(gpus=0), "lanes", 1000).count == engines
    assert place(PlacementRequest(gpus=0), "processes", 1000).count == engines
    assert place(PlacementRequest(gpus=0, cpus=6), "lanes", 1000).count == 6, "the user knows better"


def test_cores_that_the_user_gives(monkeypatch):
    monkeypatch.setattr(placement, "usable_cores", lambda: 8)
    monkeypatch.setattr(placement, "cores", lambda: system.Allowance(8, "CPU quota of 8 of the container"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert place(PlacementRequest(gpus=0, cpus=3), "lanes", 1000).count == 3
    assert place(PlacementRequest(gpus=2, cpus=6), "lanes", 1000).threads == 3
    assert place(PlacementRequest(gpus=0, cpus=1), "inline", 1000).count == 1
    for request, runner, said in (
        (
            PlacementRequest(gpus=0, cpus=9),
            "lanes",
            r"--cpus is 9; allowed: 1 to 8, 8 here \(CPU quota of 8 of the container\)",
        ),
        (PlacementRequest(gpus=0, cpus=0), "processes", "--cpus is 0; allowed: 1 to 8"),
        (PlacementRequest(gpus=0, cpus=2), "inline", "--cpus is 2, and the runner inline uses one core"),
    ):
        with pytest.raises(UserError, match=said):
            place(request, runner, 1000)


def test_doctor_says_what_may_be_used_and_why(monkeypatch):
    monkeypatch.setattr(doctor, "cores", lambda: system.Allowance(1, "CPU quota of 1 of the container"))
    monkeypatch.setattr(doctor, "memory", lambda: system.Allowance(GIB // 2, "left of the 640 MiB of the container"))
    rows = {row["what"]: row for row in doctor._devices()}
    assert rows["CPU cores"]["found"] == "1 (CPU quota of 1 of the container)"
    assert rows["memory"]["found"].startswith("512 MiB (left of the 640 MiB of the container); a search may not fit")
    assert rows["memory"]["state"] == "warn"


ONE_CPU_3_GB = {
    "v2": v2("/job", cpu__max="100000 100000", memory__max=3 * GIB, memory__current=GIB // 2, memory__high="max"),
    "v1": v1("cpu", "/job", cpu__cfs_quota_us=100000, cpu__cfs_period_us=100000)
    | v1("memory", "/job", memory__limit_in_bytes=3 * GIB, memory__usage_in_bytes=GIB // 2),
}


@pytest.fixture
def granted(tree, monkeypatch):
    """This process lives in a control group with a quota of one CPU and a limit of 3 GB. Returns what changes how much
    of it is used."""

    def granted(version):
        root = tree(version, ONE_CPU_3_GB[version], group="/job")
        found = {name: partial(getattr(system, name), root) for name in ("cores", "memory")}
        for module in (system, doctor, placement):
            for name, function in found.items():
                monkeypatch.setattr(module, name, function, raising=False)

        def used(number):
            name = {"v2": "memory.current", "v1": "memory/job/memory.usage_in_bytes"}[version]
            (root / "sys/fs/cgroup" / ("job" if version == "v2" else "") / name).write_text(f"{number}\n")

        return used

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    return granted


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_one_cpu_of_quota_and_3_gb_give_one_engine_and_doctor_says_why(version, granted):
    used = granted(version)
    assert place(PlacementRequest(), "lanes", 200) == Placement(1, 0, 1, 4, 8)
    assert place(PlacementRequest(), "processes", 200).count == 1
    rows = {row["what"]: row for row in doctor._devices()}
    assert rows["CPU cores"]["found"] == "1 (CPU quota of 1 of the control group /job)"
    assert rows["memory"]["found"] == "2.5 GiB (left of the 3.0 GiB of the control group /job)"
    assert rows["runner lanes"]["found"].startswith("4 at a time on the CPU: 1 engine")
    assert {row["state"] for row in rows.values()} == {"ok"}
    used(5 * GIB // 2)
    row = next(row for row in doctor._devices() if row["what"] == "memory")
    assert row["state"] == "warn"
    assert row["found"].startswith("512 MiB (left of the 3.0 GiB of the control group /job); a search may not fit")
    with pytest.raises(UserError, match=r"--cpus is 2; allowed: 1 to 1, 1 here \(CPU quota of 1 of the control group"):
        place(PlacementRequest(cpus=2), "lanes", 200)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_engine_holds_as_many_trials_as_what_is_left_allows(version, granted, monkeypatch):
    used = granted(version)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    engine = Engine([toy_prepared()], capacity=4, device="cpu", save=None)
    config = {"hidden_dim": 8, "embedding_dim": 4}
    trials = [Trial(number, "triplet", config, number, epochs=2) for number in range(8)]
    used(3 * GIB - (200 << 20))
    message = engine.step(Orders([], trials[:4], over=False))
    assert [number for number, _, _ in message.reports] == [0]
    assert message.returned == [1, 2, 3]
    assert message.want == 0
    assert message.notes[0].startswith("1 trials at a time, not 4: triplet takes 240 MiB and 0 for each further trial")
    assert message.notes[0].endswith("180 MiB are free")
    used(GIB)
    assert engine.step(Orders([], [], over=False)).notes == ["4 trials at a time again"]
    message = engine.step(Orders([], trials[1:5], over=False))
    assert [number for number, _, _ in message.reports] == [1, 2, 3, 4]


def test_a_death_for_lack_of_memory_is_told_from_others(monkeypatch):
    kills = [4]
    monkeypatch.setattr(system, "out_of_memory_kills", lambda: kills[0])
    deaths = lack.Deaths()
    assert not deaths.for_lack_of_memory("the process was killed")
    assert deaths.for_lack_of_memory("ray.exceptions.OutOfMemoryError: ...")
    kills[0] += 1
    assert deaths.for_lack_of_memory()
    assert not deaths.for_lack_of_memory(), "that one is known"


def test_no_memory_in_this_process_is_a_sentence(monkeypatch, capsys):
    from avtune.cli import main as cli

    def full(given, log):
        raise MemoryError

    monkeypatch.setitem(cli._VERBS, "doctor", full)
    assert cli.main(["doctor"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("avtune: out of memory: this process could not take more; what is ")
    assert "lower --cpus, --lanes or batch_size" in lines[1]


IDENTITY = "         0          0 4294967295"


def processes(tree, uid_map=IDENTITY, capabilities=0, **files):
    """Three processes with 12 threads, two of them, with 10, of this user."""
    mine, other = os.getuid(), os.getuid() + 1
    listed = {1: (other, 2), 7: (mine, 7), 12: (mine, 3)}
    made = {f"proc/{pid}/status": f"Name: x\nUid:\t{uid}\t0\nThreads:\t{count}" for pid, (uid, count) in listed.items()}
    made |= {"proc/self/uid_map": uid_map, "proc/self/status": f"CapEff:\t{capabilities:016x}"}
    return tree("v2", made | files, group="/a")


def test_the_limit_of_a_user_counts_all_that_the_user_runs(tree, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (160, 200))
    left = system.threads(processes(tree))
    assert left == system.Allowance(150, "left of the 160 processes and threads of this user (ulimit -u)")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4, 200))
    assert system.threads(processes(tree)).amount == 0
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert system.threads(processes(tree)) is None


@pytest.mark.parametrize(
    ("uid", "uid_map", "capabilities", "holds"),
    [
        (1000, IDENTITY, 0, True),
        (1000, IDENTITY, 1 << 24, False),  # CAP_SYS_RESOURCE
        (1000, IDENTITY, 1 << 21, False),  # CAP_SYS_ADMIN
        (0, IDENTITY, 0, False),
        (0, "0 1000 1", (1 << 40) - 1, True),  # somebody else outside
    ],
)
def test_the_limit_of_a_user_does_not_hold_for_root(tree, monkeypatch, uid, uid_map, capabilities, holds):
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (160, 160))
    assert (system.threads(processes(tree, uid_map, capabilities)) is not None) is holds


def test_the_limit_of_a_container_holds_for_everybody(tree, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    files = v2("/a", pids__max=100, pids__current=30)
    left = system.threads(processes(tree, capabilities=1 << 24, **files))
    assert left == system.Allowance(70, "left of the 100 processes and threads of the control group /a")
    assert system.threads(processes(tree, **v2("/a", pids__max="max", pids__current=30))) is None


def test_a_run_that_may_not_start_its_threads_is_refused(monkeypatch):
    need = thread_limit.threads_of_a_run(2)
    assert 150 < need < 250 + os.cpu_count()
    for left in (None, system.Allowance(need, "left")):
        monkeypatch.setattr(system, "threads", lambda left=left: left)
        thread_limit.check_threads(2)
    why = "left of the 160 processes and threads of this user (ulimit -u)"
    monkeypatch.setattr(system, "threads", lambda: system.Allowance(need - 1, why))
    with pytest.raises(UserError) as caught:
        thread_limit.check_threads(2)
    assert str(caught.value).splitlines() == [
        f"a search takes about {need} threads here, and {need - 1} are {why}",
        "raise the limit, lower --cpus, or take --runner inline",
    ]


def test_ray_is_not_started_then(monkeypatch):
    from avtune.runners.ray.local import local_ray

    monkeypatch.setattr(system, "threads", lambda: system.Allowance(100, "left of the 120 of the container"))
    with pytest.raises(UserError, match="100 are left of the 120 of the container"), local_ray(1, 0, 0):
        pytest.fail("it was")
    row = doctor._ray()
    assert row["state"] == "bad"
    assert row["found"].startswith("a search takes about ")
    monkeypatch.setattr(doctor, "threads", system.threads)
    assert "100 left of the 120 of the container; a search takes about " in doctor._threads()["found"]


@pytest.mark.parametrize(
    ("error", "is_said"),
    [
        (RuntimeError("can't start new thread"), True),
        (BlockingIOError(11, "Resource temporarily unavailable"), True),
        (RuntimeError("something else"), False),
        (FileNotFoundError(2, "No such file"), False),
    ],
)
def test_a_thread_that_cannot_be_started_is_a_sentence(error, is_said, monkeypatch, capsys):
    from avtune.cli import main as cli

    def refused(given, log):
        raise error

    monkeypatch.setitem(cli._VERBS, "doctor", refused)
    monkeypatch.setattr(system, "threads", lambda: system.Allowance(3, "left of the 120 of the container"))
    assert (cli.main(["doctor"]) == 2) is is_said
    err = capsys.readouterr().err
    assert (
        err.startswith("avtune: threads cannot be started: 3 are left of the 120 of the container\nraise the limit")
    ) is is_said
