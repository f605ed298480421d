"""One gateway in a process of its own, without a container: `python -m support.gateway_process`.

Its arguments: ZooKeeper's address and password, a folder for certificates, the container's name, the PID, and
its properties as JSON. It writes a line to stdout when it listens, and its status whenever a line comes in.
"""

import json
import logging
import sys
import threading
from pathlib import Path

from twisted.internet import reactor

from fabric.home import Home
from fabric.reconcile import factory_prefix
from fabric.services import ServiceContext, load_factories
from registry.session import Session


def main() -> None:
    """Run until stdin ends."""
    url, password, folder, container, pid, properties = sys.argv[1:]
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    session = Session(url, password, post=reactor.callFromThread, set_timer=reactor.callLater)
    session.start(30)
    context = ServiceContext(reactor, session, Home(Path(folder)), container, "127.0.0.1", "127.0.0.1")
    factories = load_factories(lambda name, error: None)
    prefix = factory_prefix(pid, factories)
    assert prefix is not None
    service = factories[prefix].create(pid, json.loads(properties), context)

    def tell() -> None:
        print(json.dumps(service.status()), flush=True)

    def listen() -> None:
        for _ in sys.stdin:
            reactor.callFromThread(tell)
        reactor.callFromThread(lambda: service.stopService().addBoth(lambda _: reactor.stop()))

    reactor.callWhenRunning(lambda: (service.startService(), tell()))
    threading.Thread(target=listen, daemon=True).start()
    reactor.run()
    session.close()


if __name__ == "__main__":
    main()
