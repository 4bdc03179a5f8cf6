"""Between two segments: the cells that matter propose their neighbours, as focal convolutions do."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from perception.export.feeds import FEWEST, Feed, as_input, flat_cells, table_rows
from perception.export.manifest import Manifest
from perception.sparse.growth import Merge, by_share, by_threshold, grow, spread_table


@torch.inference_mode()
def grown_feed(feed: Feed, manifest: Manifest, number: int, features: Tensor, importance: Tensor) -> dict[str, Tensor]:
    """Inputs of the segment behind growth ``number``, of what the segment in front of it answered."""
    rule, levels = manifest.focals[number], feed.sites
    sites = levels[rule.source]
    chosen = importance[: len(sites)]
    own = chosen[:, -1]
    split = by_share(own, sites, rule.threshold) if rule.top else by_threshold(own, rule.threshold)
    growth = grow(sites, split, chosen[:, :-1], rule.kernel, rule.threshold, cast(Merge, rule.merge))
    levels[rule.target] = growth.sites
    arrays = {"features": features, f"growth{number}": as_input(spread_table(growth, rule.kernel))}
    if rule.average:
        short = max(FEWEST - len(sites), 0)
        arrays[f"weight{number}"] = torch.nn.functional.pad(growth.weight.float(), (0, 0, 0, short))
    for table in manifest.tables:
        if table.source in levels and table.name not in feed.arrays:
            feed.arrays[table.name] = table_rows(table, levels)
    last = manifest.tables[-1].target
    if last in levels and number == len(manifest.focals) - 1:
        arrays["cells"] = flat_cells(levels[last])
    return {**feed.arrays, **arrays}
