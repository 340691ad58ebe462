"""TensorBoard's own server on a folder, without sockets: what its pages would be given."""

from __future__ import annotations

import json
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what TensorBoard brings with it
    from tensorboard import default, program

from tensorboard.backend import application
from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from werkzeug.test import Client


class Served:
    """A server that has read a folder. Each one is a new start."""

    def __init__(self, logdir) -> None:
        board = program.TensorBoard(default.get_plugins())
        board.configure(argv=[None, "--logdir", str(logdir), "--load_fast=false"])
        ingester = LocalDataIngester(board.flags)
        multiplexer = ingester.deprecated_multiplexer
        multiplexer.AddRunsFromDirectory(str(logdir))
        multiplexer.Reload()
        self.multiplexer = multiplexer
        app = application.TensorBoardWSGIApp(
            board.flags, board.plugin_loaders, ingester.data_provider, board.assets_zip_provider, multiplexer
        )
        self._client = Client(app)

    def get(self, path, **query) -> Any:
        answer = self._client.get(f"/data/plugin/{path}", query_string=query)
        assert answer.status_code == 200, answer.data
        return json.loads(answer.data) if "json" in answer.content_type else answer.data

    def hparams(self, what, **request) -> Any:
        """`experiment` or `session_groups` of the HParams tab."""
        answer = self._client.post(f"/data/plugin/hparams/{what}", data=json.dumps(request))
        assert answer.status_code == 200, answer.data
        return json.loads(answer.data)

    def rows(self) -> dict[str, Any]:
        """The rows of the HParams table by their names."""
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        found = self.hparams("session_groups", allowedStatuses=statuses, sliceSize=100_000, colParams=[])
        assert found["totalSize"] == len(found["sessionGroups"])
        return {group["name"]: group for group in found["sessionGroups"]}
