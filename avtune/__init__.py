"""avtune: hyper-parameter search for audio-visual metric learning."""

__version__ = "0.1.0"
