"""What a search says of machines that come and go."""

from avtune.cli.search_console import SearchConsole


def test_a_machine_that_joins_is_a_note(capsys):
    with SearchConsole() as shown, shown.training():
        shown.noted("node n2 (10.0.0.6): 4 CPUs has joined the cluster")
    assert "note: node n2 (10.0.0.6): 4 CPUs has joined the cluster" in capsys.readouterr().out
