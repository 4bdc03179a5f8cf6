"""The compiled operators of mmcv that lidar models need, by our kernels: no build, on CPUs and GPUs."""

from perception.interop.mmcv.stand_in import install

__all__ = ["install"]
