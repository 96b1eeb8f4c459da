"""A service that shows its status by a name: programs that it does not know follow it.

    python examples/service.py [NAME]

prints its status as it changes, and ends by Ctrl-C or by kill:

    4711 is READY
    4711 is DRAINING
    4711 is STOPPED

Run examples/client.py in another terminal, before or after it. Kill the service by kill -9, too:
the client learns of it at once, and the next service takes over the name.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from enum import IntEnum

from atomic_intenum import IntEnumValue

NAME = "example-service"


class Service(IntEnum):
    """What the service is doing."""

    STARTING = 1
    READY = 2
    DRAINING = 3  # it ends what it has begun, and takes nothing new
    STOPPED = 4
    DEAD = 5  # it ended, and did not say so


class ServiceStatus(IntEnumValue[Service]):
    """The service's status; the client imports this class."""


def say(status: ServiceStatus, member: Service) -> None:
    """Write the status, and print it."""
    status.set(member)
    print(os.getpid(), "is", member.name, flush=True)


def main() -> None:
    """Create the status, own it, and serve until somebody ends this process."""
    name = sys.argv[1] if sys.argv[1:] else NAME
    # If a live service has the name, this raises FileExistsError, which names its pid.
    status = ServiceStatus(Service.STARTING, segment_name=name, on_death=Service.DEAD)
    status.own()  # from here on its death makes it DEAD
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # kill does as Ctrl-C does
    try:
        time.sleep(0.1)  # here it loads what it needs
        say(status, Service.READY)
        while True:
            time.sleep(0.1)  # here it serves
    except KeyboardInterrupt:
        say(status, Service.DRAINING)
        time.sleep(0.1)  # here it ends what it has begun
        status.disown()  # this is no death
        say(status, Service.STOPPED)


if __name__ == "__main__":
    main()
