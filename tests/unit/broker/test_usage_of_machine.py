"""From the configured amounts to bytes: shares of what there is, and never more than that."""

import logging
import os
import shutil
from pathlib import Path

import pytest

from broker.config import BrokerConfig
from broker.usage import usage_limits


def config(folder: Path, **properties: str) -> BrokerConfig:
    """A broker whose store is this folder."""
    return BrokerConfig.from_properties({"data": str(folder), **properties}, container="c")


def test_shares_are_of_the_disk_and_of_the_memory(tmp_path: Path) -> None:
    """A share of the store's file system, of the machine's memory, of the temporary files' file system."""
    limits = usage_limits(
        config(tmp_path, storeUsage="50%", memoryUsage="10%", tempUsage="25%"), tmp_path / "not" / "there yet"
    )
    disk = shutil.disk_usage(tmp_path).total
    assert limits.store_bytes_max == disk // 2
    assert limits.temp_bytes_max == disk * 25 // 100
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert limits.memory_bytes_max == memory // 10


def test_more_than_there_is_means_what_there_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The default of 100 GB is fine on a small disk: percent are of what there really is."""
    caplog.set_level(logging.INFO)
    limits = usage_limits(config(tmp_path, storeUsage="900000 gb"), tmp_path)
    assert limits.store_bytes_max == shutil.disk_usage(tmp_path).total
    assert "storeUsage is" in caplog.text


def test_flow_control_is_handed_on(tmp_path: Path) -> None:
    """What becomes of sends without space is the region's business."""
    limits = usage_limits(config(tmp_path, sendFailIfNoSpaceAfterTimeout="100"), tmp_path)
    assert (limits.blocks, limits.refuse_after_ms) == (True, 100)
    assert not usage_limits(config(tmp_path, sendFailIfNoSpace="true"), tmp_path).blocks
    assert not usage_limits(config(tmp_path, producerFlowControl="false"), tmp_path).blocks
