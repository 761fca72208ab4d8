"""How tables look where there is no terminal."""

from __future__ import annotations

from amqtask.cli.output import print_table
from amqtask.cli.setup import Setup


def test_one_long_cell_does_not_pad_the_others(capsys):
    print_table(Setup(), ("setting", "value", "from"), [("a", "1", "code"), ("b", "x" * 300, "code")])
    header, short, long = capsys.readouterr().out.splitlines()
    assert (header, short) == ("SETTING  VALUE  FROM", "a        1      code")
    assert long == f"b        {'x' * 300}  code"
