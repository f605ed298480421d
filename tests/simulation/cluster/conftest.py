"""Fixtures of the cluster simulation."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What the product logs about thousands of faults is not worth its time."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
