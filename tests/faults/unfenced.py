"""A container whose broker does not ask the fence: ``python -m faults.unfenced …``, for the checker's proof.

It acknowledges as long as its disk takes what it writes, whoever else is master of the store by now.
"""

import sys

from fabric import container
from journal.mastership import Mastership

if __name__ == "__main__":
    Mastership.check = lambda _self: None  # type: ignore[method-assign]  # the fault
    sys.exit(container.main())
