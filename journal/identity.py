"""Which store a directory holds: a number that is made with it and goes wherever it goes.

Two hosts that name the same directory see one store, or each its own, if one of them has forgotten to mount
it. The path cannot tell; this can. It says nothing about who may write: that is the fence's.
"""

import re
from typing import Final

from journal.errors import StoreMissing, StoreUnavailable
from journal.files import Files

NAME: Final = "store-id"
ID_BYTES: Final = 32
_ID: Final = re.compile(rb"[0-9a-f]{32}")


def read_store_id(files: Files) -> str | None:
    """Returns the store's number, 32 hexadecimal digits; None if the directory or the number is missing.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    try:
        content = files.read(NAME, 0, ID_BYTES)
    except StoreMissing:
        return None
    return content.decode() if _ID.fullmatch(content) else None


def make_store_id(files: Files, number: str) -> str:
    """Gives the store a number if it has none; returns the one it has, also if another broker was faster.

    Raises:
        StoreUnavailable: it cannot be written, or another broker is writing it now.
    """
    content = number.encode()
    assert _ID.fullmatch(content), "32 hexadecimal digits"
    files.create(NAME, content)
    files.sync_directory()
    found = read_store_id(files)
    if found is None:  # the disk was full then, or its writer has not got further
        raise StoreUnavailable(
            f"{files.describe(NAME)} does not hold a store's number. If it stays so, remove that file."
        )
    return found
