"""How much of this machine a broker may take: the configured amounts, where they meet disks and memory."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.region.usage import UsageLimits

if TYPE_CHECKING:
    from broker.config import Amount, BrokerConfig

_log: Final = logging.getLogger("broker")


def usage_limits(config: BrokerConfig, temporary: Path) -> UsageLimits:
    """The limits in bytes. Asks the file systems; call it in a thread.

    Args:
        config: of the broker; its store exists.
        temporary: folder of its temporary files, which may not exist yet.
    """
    usage = config.usage
    return UsageLimits(
        store_bytes_max=_within("storeUsage", usage.store, _disk_bytes(config.data)),
        memory_bytes_max=_within("memoryUsage", usage.memory, _memory_bytes()),
        temp_bytes_max=_within("tempUsage", usage.temp, _disk_bytes(temporary)),
        flow_control=usage.flow_control,
        refuse_at_once=usage.refuse_at_once,
        refuse_after_ms=usage.refuse_after_ms,
    )


def _within(key: str, amount: Amount, total_bytes: int) -> int:
    """What is meant, but not more than there is."""
    limit = amount.within(total_bytes)
    if amount.bytes > limit:
        _log.info("%s is %d bytes here, not %d: there are no more", key, limit, amount.bytes)
    return limit


def _disk_bytes(folder: Path) -> int:
    """Size of the file system of a folder, or of the nearest one above that exists."""
    for each in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(each).total
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("The size of the file system of %s is not known: %s", folder, error.strerror)
            break
    return 1 << 62


def _memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
