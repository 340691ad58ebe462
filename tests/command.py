"""Runs a command in this process."""

from avtune.cli.main import main


def call(capsys, *words, code=0):
    """Returns what the command printed, or the error lines when it fails as expected."""
    ended = main([str(word) for word in words])
    captured = capsys.readouterr()
    assert ended == code, captured
    if code:
        lines = captured.err.strip().splitlines()
        assert 1 <= len(lines) <= 2, captured.err
        assert lines[0].startswith("avtune: ")
        assert "Traceback" not in captured.err
        return captured.err
    return captured.out
