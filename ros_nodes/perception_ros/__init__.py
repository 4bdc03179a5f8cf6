"""ROS 2 over `perception`: clouds in, boxes, skeletons, flow, trees and places out.

Read ``nodes/base.py`` first: what happens to a cloud from its arrival to the results. ``conversion``, ``core`` and
``tasks`` know nothing of ROS, so the same pipelines run over bags on machines without it (``bags``).
"""

__version__ = "0.1.0"
