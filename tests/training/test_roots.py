"""Options of data sets on the command line."""

from __future__ import annotations

import argparse

import pytest

from perception.errors import PerceptionError
from perception.training.roots import add_option, parse_options


def test_options_may_be_given_together_and_again() -> None:
    parser = argparse.ArgumentParser()
    add_option(parser)
    given = parser.parse_args(["--option", "length=60", "seed=2", "--option", "sensors=[hdl64]"]).option
    assert parse_options(given) == {"length": 60, "seed": 2, "sensors": ["hdl64"]}
    assert parse_options(parser.parse_args([]).option) == {}
    # one parser's options are not the next one's
    assert parser.parse_args(["--option", "a=1"]).option == ["a=1"]
    assert parser.parse_args([]).option == []


@pytest.mark.parametrize("text", ["length", "=3", "sensors=[hdl64"])
def test_what_is_no_option(text: str) -> None:
    with pytest.raises(PerceptionError, match="--option"):
        parse_options([text])
