"""The schema of answers, which every answer that a test gets is held to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

SCHEMA = Path(__file__).resolve().parents[2] / "db_setup" / "answer.schema.json"


@cache
def validator() -> Any:
    """Return the validator of the schema, which is itself a valid one."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def wrong_with(answer: object) -> str:
    """Return what is wrong with an answer, empty for a valid one."""
    error = best_match(validator().iter_errors(answer))
    return "" if error is None else f"{error.json_path}: {error.message}"


def check_answer(answer: object) -> None:
    """Fail where an answer is not as the schema says."""
    if wrong := wrong_with(answer):
        raise AssertionError(f"not an answer of answer.schema.json: {wrong}\n{answer}")


def check_output(words: Sequence[str], out: str) -> None:
    """Fail where a command line with --json has printed anything but one valid answer."""
    if "--json" in words:
        check_answer(json.loads(out))
