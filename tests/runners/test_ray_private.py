"""What avtune uses of Ray's insides is there, and is what it is taken for. No Ray is started.

In processes of their own: a test module that imports Ray takes the token from later tests in this process."""

import os
import subprocess
import sys

START = """
import inspect, logging, sys, threading
import ray.tune.tune as tune
from ray._private import node, services, utils, worker
from ray.job_config import JobConfig
from ray.tune.execution import class_cache
from avtune.core.errors import UserError
from avtune.runners.ray import private
"""

THERE = """
assert private.missing() == [], f"this Ray lacks {private.missing()}, see avtune/runners/ray/private.py"
assert private.asks_for_token()

def names(function):
    return list(inspect.signature(function).parameters)

assert names(worker.listen_error_messages) == ["worker", "threads_stopped"]
assert names(utils.set_sigterm_handler) == ["sigterm_handler"]
assert names(node.Node.kill_all_processes) == ["self", "check_alive", "allow_graceful", "wait"]
assert names(node.Node.start_monitor) == names(node.Node.start_log_monitor) == ["self"]
assert names(services.get_node) == ["gcs_address", "node_id"]
assert callable(private._find("ray._raylet", "InnerGcsClient").get_all_node_info), "what GcsClient passes calls on to"
assert names(node.Node.start_api_server) == ["self", "include_dashboard", "raise_on_failure"]
assert services.ConsolePopen.__bases__[0].__name__ == "Popen"
assert type(class_cache.DEFAULT_ENV_VARS) is dict and type(class_cache.ENV_VARS_TO_PROPAGATE) is set

for where, text in (
    (worker.connect, "target=listen_error_messages"),
    (worker, "ray._private.utils.set_sigterm_handler("),
    (node, "ray._private.utils.set_sigterm_handler("),
    (node.Node.start_head_processes, "self.start_api_server("),
    (node.Node.start_head_processes, "self.start_monitor("),
    (node.Node.start_ray_processes, "self.start_log_monitor("),
    (node.Node, "self.all_processes["),
    (node.Node.__init__, "ray._private.services.get_node("),
    (services.start_ray_process, "ConsolePopen("),
    (JobConfig._get_proto_job_config, "self._py_driver_sys_path"),
    (tune.run, "_ray_auto_init("),
    (tune.run, "_setup_signal_catching("),
    (class_cache._ActorClassCache, "DEFAULT_ENV_VARS.copy("),
    (class_cache._ActorClassCache, "in ENV_VARS_TO_PROPAGATE"),
):
    assert text in inspect.getsource(where), f"{where} has no {text} any more, see avtune/runners/ray/private.py"

from ray.tune import progress_reporter
from ray.tune.utils import callback

usual = progress_reporter.TrialProgressCallback
assert "isinstance(c, TrialProgressCallback)" in inspect.getsource(callback), "one that is given replaces Tune's"
(silent,) = private.silent_progress()
assert isinstance(silent, usual)
hooks = [name for name in vars(usual) if name.startswith("on_")]
assert all(name in vars(type(silent)) for name in hooks), hooks
del progress_reporter.TrialProgressCallback
assert private.silent_progress() == []
progress_reporter.TrialProgressCallback = usual

plain, quiet = node.Node.start_monitor, worker.listen_error_messages
with private.few_processes(), private.quiet_errors(), private.any_worker(), private.no_sigterm_handler():
    assert node.Node.start_monitor is not plain and worker.listen_error_messages is not quiet
    assert not class_cache.DEFAULT_ENV_VARS and not class_cache.ENV_VARS_TO_PROPAGATE
assert node.Node.start_monitor is plain and worker.listen_error_messages is quiet
assert class_cache.DEFAULT_ENV_VARS and class_cache.ENV_VARS_TO_PROPAGATE

looks, slept = [], []
class Client:
    def __init__(self, address):
        assert address == "127.0.0.1:1"
    def get_all_node_info(self):
        looks.append(1)
        if len(looks) == 4:
            raise ConnectionError
        return {bytes.fromhex("ab"): None} if len(looks) == 3 else {}

_raylet = sys.modules["ray._raylet"]
known, plain, _raylet.GcsClient = _raylet.GcsClient, services.get_node, Client
services.get_node = lambda gcs_address, node_id: (gcs_address, node_id)
private.time = type("Time", (), {"sleep": slept.append, "monotonic": staticmethod(lambda: 0.0)})
with private.seen_at_once():
    assert services.get_node("127.0.0.1:1", "ab") == ("127.0.0.1:1", "ab")
    assert (len(looks), len(slept)) == (3, 2)
    assert services.get_node("127.0.0.1:1", "ab") == ("127.0.0.1:1", "ab"), "Ray looks itself"
    assert (len(looks), len(slept)) == (4, 2)
_raylet.GcsClient, services.get_node = known, plain

own = tune._ray_auto_init, tune._setup_signal_catching
with private.guarded_tune():
    assert tune._ray_auto_init is private._no_other_ray and tune._setup_signal_catching is threading.Event
assert (tune._ray_auto_init, tune._setup_signal_catching) == own
over = threading.Event()
threading.Thread(target=over.wait, name=private.TUNE_THREAD).start()
with private.guarded_tune():
    pass
assert tune._ray_auto_init is private._no_other_ray, "a run of Tune's that is late finds no Ray to start"
over.set()

assert not private.job_config()._get_proto_job_config().py_driver_sys_path
"""

LACKS = """
heard = []
handler = logging.Handler()
handler.emit = heard.append
logging.getLogger(private.__name__).addHandler(handler)

for owner, name in (
    (node.Node, "start_monitor"),
    (worker, "listen_error_messages"),
    (class_cache, "DEFAULT_ENV_VARS"),
    (utils, "set_sigterm_handler"),
):
    delattr(owner, name)
with private.few_processes(), private.quiet_errors(), private.any_worker(), private.no_sigterm_handler():
    assert not hasattr(node.Node, "start_monitor")
assert len(heard) == 4
assert "ray._private.node.Node.start_monitor" in private.missing()

del JobConfig._get_proto_job_config, tune._ray_auto_init, services.ConsolePopen
worker._global_node = object()

def start_process():
    with private.processes_in_own_session():
        raise AssertionError("started")

def guard():
    with private.guarded_tune():
        raise AssertionError("guarded")

for refused in (private.job_config, guard, private.vital_processes, start_process):
    try:
        refused()
    except UserError as error:
        assert "--runner inline" in str(error)
    else:
        raise AssertionError(f"{refused} works without what it takes")
"""


def run(code):
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", START + code]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_what_is_used_of_ray_is_there_and_used_by_ray():
    run(THERE)


def test_without_it_a_run_is_only_slower_or_refused():
    run(LACKS)
