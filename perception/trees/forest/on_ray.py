"""The same job on a Ray cluster: this process cuts tiles out and keeps results, workers find trees.

Workers get the points of a tile and answer its trees, so that they need no file system in common. A tile whose worker
died is done again, by another.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from perception.errors import PerceptionError
from perception.io.las_tiles import Tile
from perception.trees.forest.forest import Found, Runner
from perception.trees.forest.seeing import ThinTile
from perception.trees.forest.settings import ForestSettings, Method
from perception.trees.forest.tile_trees import find_trees

LOCAL = "local"
EXPECTED = (
    "an address such as auto, local, 10.0.0.1:6379 or ray://10.0.0.1:10001",
    "start a cluster with `ray start --head`, or use --ray local",
)
AGAIN = 3  # times that a tile is handed out after its worker died
WAITING = 2  # tiles for each core of the cluster that are on their way


@contextmanager
def ray_runner(address: str) -> Iterator[Runner]:
    """Connects to a cluster ("auto" finds the one of this machine, "local" starts one) for as long as it is needed."""
    mine = not ray.is_initialized()
    if mine:
        _check_reachable(address)
        try:
            here = {"include_dashboard": False} if address == LOCAL else {}
            ray.init(address=address, log_to_driver=False, **here)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise PerceptionError(f"no Ray cluster at {address!r}: {reason}", *EXPECTED) from None
    try:
        yield run_on_ray
    finally:
        if mine:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # a name such as auto, which Ray knows about at once
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise PerceptionError(f"no Ray cluster at {address!r}: {error}", *EXPECTED) from None


def run_on_ray(
    method: Method, settings: ForestSettings, tiles: Sequence[Tile], read: Callable[[Tile], ThinTile]
) -> Found:
    """The trees of each tile as workers finish them."""
    work = ray.remote(num_cpus=1, max_retries=AGAIN)(_find)
    shared = ray.put(method)
    most = WAITING * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    coming = iter(tiles)
    running: dict[Any, tuple[Tile, int]] = {}
    again: list[tuple[Tile, int]] = []
    while True:
        while len(running) < most:
            tile, tried = again.pop() if again else (next(coming, None), 0)
            if tile is None:
                break
            running[work.remote([shared], read(tile), settings)] = (tile, tried)
        if not running:
            return
        (done,), _ = ray.wait(list(running), num_returns=1)
        tile, tried = running.pop(done)
        try:
            yield tile, ray.get(done)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, PerceptionError):
                raise cause from None
            raise PerceptionError(
                f"tile {tile.name} failed on a Ray worker: {cause!r}", "a worker with this version of the package"
            ) from error
        except ray.exceptions.RayError as error:  # the worker or its machine went away more often than Ray retries
            if tried >= AGAIN:
                raise PerceptionError(
                    f"tile {tile.name}: its workers died {AGAIN + 1} times ({type(error).__name__})",
                    "workers with enough memory",
                    "use smaller tiles (--tile), or fewer workers a machine",
                ) from error
            again.append((tile, tried + 1))


def _find(shared: list[Any], thin: ThinTile, settings: ForestSettings) -> Any:
    """In the worker. The method comes as a reference in a list: it is fetched once a process, not once a tile."""
    reference = shared[0]
    if _KNOWN.get("reference") != reference:
        _KNOWN.update(reference=reference, method=ray.get(reference))
    return find_trees(_KNOWN["method"], thin, settings)


_KNOWN: dict[str, Any] = {}
