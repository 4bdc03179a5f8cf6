"""A small Argoverse 2 log for tests."""

import numpy as np
import pyarrow as pa
from pyarrow import feather

STAMPS = [315966265000000000 + i * 100_000_000 for i in range(4)]
HALF = np.sqrt(0.5)


def table(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.table(columns), str(path))


def cuboids(stamps, categories, yaws, **more):
    n = len(stamps)
    zero = np.zeros(n)
    return {
        "timestamp_ns": stamps,
        "track_uuid": [f"track {i}" for i in range(n)],
        "category": categories,
        "length_m": zero + 4,
        "width_m": zero + 2,
        "height_m": zero + 1.5,
        "qw": np.cos(np.array(yaws) / 2),
        "qx": zero,
        "qy": zero,
        "qz": np.sin(np.array(yaws) / 2),
        "tx_m": np.arange(n) * 5.0 + 5,
        "ty_m": zero,
        "tz_m": zero + 0.5,
        "num_interior_pts": np.arange(n),
        **more,
    }


def write_log(root):
    """A log of four sweeps, 2 m apart along the city's y axis, the vehicle heading there; the last one unlabelled."""
    log = root / "val" / "log-a"
    for number, stamp in enumerate(STAMPS):
        # One point that stands still in the city at (0, 10, 0).
        x = np.array([10.0 - 2 * number], np.float16)
        byte = np.array([7], np.uint8)
        table(
            log / "sensors" / "lidar" / f"{stamp}.feather",
            x=x,
            y=np.zeros(1, np.float16),
            z=np.zeros(1, np.float16),
            intensity=byte,
            laser_number=byte,
            offset_ns=np.zeros(1, np.int32),
        )
    turn = {"qw": [HALF] * 4, "qx": [0.0] * 4, "qy": [0.0] * 4, "qz": [HALF] * 4}
    table(
        log / "city_SE3_egovehicle.feather",
        timestamp_ns=STAMPS,
        **turn,
        tx_m=[0.0] * 4,
        ty_m=[0.0, 2.0, 4.0, 6.0],
        tz_m=[0.0] * 4,
    )
    rows = [STAMPS[0], STAMPS[0], STAMPS[2], STAMPS[1]]
    names = ["REGULAR_VEHICLE", "ANIMAL", "DOG", "BUS"]
    table(log / "annotations.feather", **cuboids(rows, names, [0, 1, -2, np.pi]))
    mounting = {"qw": [1.0], "qx": [0.0], "qy": [0.0], "qz": [0.0], "tx_m": [1.0], "ty_m": [0.0], "tz_m": [1.6]}
    table(log / "calibration" / "egovehicle_SE3_sensor.feather", sensor_name=["up_lidar"], **mounting)
    return root
