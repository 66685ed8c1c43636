"""Errors as data."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from packshot.errors import ArchiveError, Billed, Code, ConfigError, PackshotError, ProviderError, code_of


def test_every_code_has_a_value_of_its_own() -> None:
    """Members with equal values would be one member with two names, and with the first one's billing."""
    assert len(list(Code)) == len(Code.__members__)


@pytest.mark.parametrize("code", list(Code))
def test_every_code_says_what_to_do_next(code: Code) -> None:
    assert code.value == code.name.lower() == str(code)
    assert isinstance(code.billed, Billed)
    assert code.next_step
    assert not code.next_step.endswith(".")
    assert code_of(code.value) is code
    assert json.dumps({"code": code}) == f'{{"code": "{code.value}"}}'


@pytest.mark.parametrize("code", list(Code))
def test_only_what_is_not_or_perhaps_billed_may_be_retried_by_itself(code: Code) -> None:
    assert not (code.retryable and code.billed is Billed.YES)


@pytest.mark.parametrize("kind", [PackshotError, ConfigError, ProviderError, ArchiveError])
@pytest.mark.parametrize("code", list(Code))
def test_errors_pass_between_processes_whole(kind: type[PackshotError], code: Code) -> None:
    error = kind(code, "a b", http_status=500, request_ids={"x": "1"}, excerpt="{}")
    for same in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(same) is kind
        assert same.code is code
        assert (same.message, same.details, str(same)) == (error.message, error.details, str(error))


@pytest.mark.parametrize("code", list(Code))
def test_a_message_ends_with_the_next_step(code: Code) -> None:
    assert str(PackshotError(code, "it broke.")) == f"{code.value}: it broke. Next: {code.next_step}."


def test_details_are_not_part_of_the_message() -> None:
    assert "excerpt" not in str(ProviderError(Code.TIMEOUT, "late", excerpt="excerpt"))
