"""Ray on the user's machine: nobody else reaches it, it tells nobody, and it is gone afterwards."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest
from live_search import Live, processes, scratch

from avtune.runners.ray.local import local_ray

pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A search: what was seen while it ran, and what is left after a SIGTERM."""
    with Live(tmp_path_factory.mktemp("private"), gate=1, watched=True) as live:
        live.until_held()
        live.seen = live.processes()
        # Those that the driver started: a child of a daemon has its command line until it has become what it will be.
        own = [one for one in live.seen if one.parent == live.process.pid]
        live.daemons = [one for one in own if "/gcs_server" in one.command or "/raylet " in one.command]
        live.groups = {one.pid: os.getpgid(one.pid) for one in live.seen}
        live.priorities = {one.pid: os.getpriority(os.PRIO_PROCESS, one.pid) for one in live.seen}
        live.folder_of_run = scratch(live.seen)
        live.mode = stat.S_IMODE(live.folder_of_run.stat().st_mode)
        token = live.daemons[0].environment["RAY_AUTH_TOKEN"].encode()
        live.logs = [path for path in live.folder_of_run.rglob("*") if path.is_file()]
        live.told = [path for path in live.logs if token in path.read_bytes()]
        live.process.terminate()
        live.code = live.until_ended(patience=20)
        live.until_nothing_is_left(20)
        yield live


def test_every_listener_is_on_the_loopback_address(run):
    of = {one.pid: one.command for one in run.seen}
    assert {pid for pid, _ in run.listening} >= {one.pid for one in run.daemons}, "the daemons' listeners were seen"
    assert any(of.get(pid, "").startswith("ray::") for pid, _ in run.listening), "and a worker's"
    outside = [(of.get(pid, pid), str(address)) for pid, address in run.listening if not address.is_loopback]
    assert not outside


@pytest.mark.long
def test_engines_listen_on_the_loopback_address_too(tmp_path):
    """The default runner: every process of the run, from its start to its end."""
    with Live(tmp_path, gate=1, runner="lanes", watched=True) as live:
        assert live.until_ended() == 0, live.printed
    assert len({pid for pid, _ in live.listening}) >= 5, "the driver, two daemons, the engine and the mailbox"
    assert not [str(address) for _, address in live.listening if not address.is_loopback]


def test_daemons_have_a_token_and_tell_nobody(run):
    assert len(run.daemons) == 2, [one.command for one in run.seen]
    for one in run.daemons:
        assert one.environment["RAY_AUTH_MODE"] == "token"
        assert len(bytes.fromhex(one.environment["RAY_AUTH_TOKEN"])) >= 16
        assert one.environment["RAY_USAGE_STATS_ENABLED"] == "0"
        assert one.environment["RAY_USAGE_STATS_REPORT_URL"].startswith("http://127.0.0.1:")


def test_ray_runs_without_what_serves_other_uses_of_it(run):
    """The dashboard's server, the autoscaler's monitor and the reader of logs: Ray starts them where nobody asks."""
    scripts = [
        name for one in run.seen for name in ("dashboard.py", "monitor.py", "log_monitor.py") if name in one.command
    ]
    assert not scripts


def test_a_signal_to_the_drivers_process_group_reaches_the_driver_alone(run):
    assert run.groups[run.process.pid] == run.process.pid
    assert [pid for pid, group in run.groups.items() if group == run.process.pid] == [run.process.pid]


def test_workers_have_the_priority_of_the_driver(run):
    workers = [one.pid for one in run.seen if one.command.startswith("ray::_trial") or "ImplicitFunc" in one.command]
    assert workers
    assert {run.priorities[pid] for pid in workers} == {run.priorities[run.process.pid]}


def test_the_token_is_in_no_file_and_no_command_line(run):
    assert not (run.folder / "home" / ".ray").exists()
    token = run.daemons[0].environment["RAY_AUTH_TOKEN"]
    assert not [one.command for one in run.seen if token in one.command]
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]
    assert len(run.logs) > 5, "Ray's logs were there to be read"
    assert not run.told


def test_a_sigterm_ends_it_and_nothing_stays(run):
    assert run.code == 143
    assert run.printed[1].splitlines() == ["avtune: terminated; the same command continues"]
    assert run.mode == 0o700
    assert not run.folder_of_run.exists()


class Term(Exception):
    pass


def test_a_signal_waits_for_rays_start_and_this_process_stays_as_it_was(run):
    """Half a start would leave daemons behind; and Ray would put a handler of its own in the place of ours."""
    started = []

    def wait_and_kill():
        while not started:
            started.extend(one for one in processes("/gcs_server") if one.parent == os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)

    def terminate(number, frame):
        raise Term

    def state():
        mask = os.umask(0o022)
        os.umask(mask)
        return dict(os.environ), mask, [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    original = signal.signal(signal.SIGTERM, terminate)
    try:
        before = state()
        thread = threading.Thread(target=wait_and_kill, daemon=True)
        thread.start()
        with pytest.raises(Term), local_ray(1, 0, 1 << 20):
            pytest.fail("the signal was lost")
        thread.join()
        assert state() == before
    finally:
        signal.signal(signal.SIGTERM, original)
    assert not scratch(started).exists()
    assert not processes(str(scratch(started)))
    assert started[0].environment["RAY_AUTH_TOKEN"] != run.daemons[0].environment["RAY_AUTH_TOKEN"], "one for each run"


@pytest.mark.long
def test_a_ray_that_was_imported_too_early_is_refused(tmp_path):
    """It read whether to ask for a token when it was imported; an own module is imported before the runner is."""
    (tmp_path / "mine.py").write_text(
        'import ray\n\n\ndef train(config, data, report):\n    report(1, {"val_map": 0.5})\n'
    )
    (tmp_path / "mine.yaml").write_text("space:\n  lr: {type: float, low: 1e-4, high: 1e-2, log: true}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-m", "avtune", "search", "demo", "--train", "mine:train", "--space", "mine.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("avtune: Ray was imported before avtune could set it up")
    assert "Traceback" not in ended.stderr
