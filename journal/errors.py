"""What can go wrong with a store.

::

    JournalError
    ├── StoreUnavailable      the directory cannot be used now
    │   ├── StoreMissing          it does not exist
    │   ├── StoreReadOnly         it may be read but not written
    │   └── StoreInUse            its master may be running, and was not to be fenced
    ├── StoreNewer            written by a newer version of this software
    ├── StoreCorrupt          the directory's content contradicts itself
    │   └── StoreIncomplete       a data file is missing
    ├── StoreFenced           another broker took the store
    ├── StoreFull             there is no space left; nothing was written
    ├── StoreFailed           a write, sync or check failed: this instance is finished
    ├── MessageUnknown        no live message has this number
    ├── MessageDamaged        it is live, and its record is damaged
    │   └── MessageUnreadable     the disk does not give it now; it is not given up
    ├── ExportInvalid         a file is no export of a journal, or was changed
    └── ImportRefused         an export cannot be imported into this store

The first sentence of a docstring is what the command line prints when the error carries no text of its own.
"""


class JournalError(Exception):
    """The message store failed."""

    def __str__(self) -> str:
        """Returns the text given, or the first sentence of the docstring."""
        return super().__str__() or (type(self).__doc__ or "").split("\n")[0]


class StoreUnavailable(JournalError):
    """The store's directory cannot be used."""


class StoreMissing(StoreUnavailable):
    """The store's directory does not exist."""


class StoreReadOnly(StoreUnavailable):
    """The store's directory cannot be written."""


class StoreInUse(StoreUnavailable):
    """The store's master may be running."""


class StoreNewer(JournalError):
    """The store was written by a newer version of this software."""


class StoreCorrupt(JournalError):
    """The store's content contradicts itself."""


class StoreIncomplete(StoreCorrupt):
    """A data file of the store is missing."""


class StoreFenced(JournalError):
    """Another broker took the store over."""


class StoreFailed(JournalError):
    """A write to the store failed; what it covered is not acknowledged."""


class StoreFull(JournalError):
    """The store's disk is full."""


class MessageUnknown(JournalError, LookupError):
    """No live message has this number."""


class MessageDamaged(JournalError, LookupError):
    """A live message's record in the store is damaged."""


class MessageUnreadable(MessageDamaged):
    """A live message cannot be read from the store now."""


class ExportInvalid(JournalError):
    """The file is no export of a journal."""


class ImportRefused(JournalError):
    """The export cannot be imported into this store."""
