"""A client of examples/service.py: it waits for the service, and outlives its restarts.

    python examples/client.py [NAME]

prints what the service is doing, and ends when the service is STOPPED:

    waiting for example-service
    example-service is READY
    example-service is DEAD
    example-service is READY
    example-service is DRAINING
    example-service is STOPPED

In between somebody killed the service by kill -9, and started another one.
"""

from __future__ import annotations

import sys
import time

from service import NAME, Service, ServiceStatus


def connect(name: str) -> ServiceStatus:
    """Return the status of the service that lives, once it is no longer STARTING."""
    while True:
        status = ServiceStatus.attach(name, timeout=None)  # it sleeps until the name is there
        # A dead service may have left this; a wait notices that before it returns.
        if status.wait_while(Service.STARTING, timeout=20) is not Service.DEAD:  # seconds
            return status
        time.sleep(0.05)  # until the next service has replaced it


def follow(status: ServiceStatus) -> Service:
    """Print each state of a service, and return the last one."""
    for member in status.changes():  # it sleeps in between
        print(status.segment_name, "is", member.name, flush=True)
        if member in (Service.STOPPED, Service.DEAD):
            return member
    raise AssertionError("changes() without a timeout does not end")


def main() -> None:
    """Follow one service after the other, until one is STOPPED."""
    name = sys.argv[1] if sys.argv[1:] else NAME
    print("waiting for", name, flush=True)
    while follow(connect(name)) is Service.DEAD:
        pass


if __name__ == "__main__":
    main()
