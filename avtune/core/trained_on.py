"""Where a trial was trained: the device, the process that has it, and the machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """Where epochs of a trial were trained.

    Attributes:
        device: `CPU`, or `GPU 1` by its number on the machine.
        engine: the process, `engine 0`, or `process 4711` with the runner `processes`; empty for the search's own.
        node: the address of the machine, of a cluster that the user named; empty on this machine alone.
    """

    device: str
    engine: str = ""
    node: str = ""

    @property
    def text(self) -> str:
        """For people.

        >>> TrainedOn("GPU 1", "engine 3", "10.0.0.2").text
        '10.0.0.2, GPU 1, engine 3'
        """
        return ", ".join(filter(None, (self.node, self.device, self.engine)))

    def to_json(self) -> dict[str, str]:
        """Without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, found: object) -> TrainedOn | None:
        """What `to_json` gave; None where it is no such thing."""
        if not isinstance(found, dict) or not found.get("device"):
            return None
        names = {field.name for field in fields(cls)}
        if not found.keys() <= names or not all(isinstance(value, str) for value in found.values()):
            return None
        return cls(**found)
