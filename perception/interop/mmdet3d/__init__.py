"""Our sparse encoders, voxel layers and suppression in mmdet3d, by the names and arguments of its own.

Importing this package registers them, so that a configuration runs as it is, without spconv and without mmcv's
compiled operators::

    custom_imports = dict(imports=["perception.interop.mmdet3d"])

or, with nothing changed at all, ``python -m perception.interop.mmdet3d tools/test.py CONFIG CHECKPOINT``.
Raises PerceptionError that names the extra where mmdet3d is not installed.
"""

from perception.interop.mmdet3d.plug_in import install, require

require()
install()
