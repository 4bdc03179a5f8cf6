"""Kinds of trees: how height and crown follow from the diameter of the stem, and what the crown is built of.

Height: curve of Näslund (1936), h = 1.3 + (d / (a + b d))^p with d in centimetres, the exponent 2 for pine and
broadleaves and 3 for spruce. Crown: d = 0.557 (h c)^0.809 with d in centimetres, h and crown diameter c in metres
(Jucker et al. 2017, Global Change Biology 23, "Allometric equations for integrating remote sensing imagery into forest
monitoring programmes"), solved for c. Stem: d(z) = d (h - z)^q / (h - 1.3)^q (Ormerod 1973). The
coefficients a, b, q and the crowns' densities are ours, chosen for heights and shapes usual in Europe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONE, UMBRELLA, ROUND, SNAG = range(4)
BREAST = 1.3
"""Height in metres at which foresters measure diameters."""


@dataclass(frozen=True)
class Species:
    """``form`` of the crown; ``naeslund`` a, b, p; ``crown_share`` lowest and highest share of the height that carries
    live branches in a closed stand; ``crown_scale`` multiplies the crown diameter of the allometry; ``taper`` the
    exponent q; ``extinction`` of its foliage in 1/m; ``forks`` the share of stems that fork; ``reflectance`` of leaves
    in the near infrared."""

    name: str
    form: int
    naeslund: tuple[float, float, float]
    crown_share: tuple[float, float]
    crown_scale: float
    taper: float
    extinction: float
    forks: float
    reflectance: float


SPRUCE = Species("spruce", CONE, (1.8, 0.29, 3.0), (0.50, 0.85), 0.85, 0.75, 1.9, 0.02, 0.35)
FIR = Species("fir", CONE, (2.0, 0.285, 3.0), (0.50, 0.85), 0.85, 0.75, 1.8, 0.02, 0.35)
PINE = Species("pine", UMBRELLA, (1.4, 0.205, 2.0), (0.32, 0.58), 0.85, 0.65, 1.2, 0.06, 0.30)
BIRCH = Species("birch", ROUND, (1.2, 0.195, 2.0), (0.40, 0.60), 0.80, 0.70, 0.8, 0.12, 0.45)
BEECH = Species("beech", ROUND, (1.3, 0.175, 2.0), (0.45, 0.65), 1.00, 0.65, 1.2, 0.25, 0.50)
OAK = Species("oak", ROUND, (1.4, 0.195, 2.0), (0.45, 0.65), 1.05, 0.70, 1.0, 0.30, 0.45)
DEAD = Species("snag", SNAG, (1.8, 0.24, 2.0), (0.25, 0.50), 0.45, 0.28, 0.0, 0.02, 0.25)

SPECIES = (SPRUCE, FIR, PINE, BIRCH, BEECH, OAK, DEAD)
STANDS: dict[str, tuple[tuple[Species, float], ...]] = {
    "spruce": ((SPRUCE, 0.85), (BIRCH, 0.08), (PINE, 0.07)),
    "pine": ((PINE, 0.9), (BIRCH, 0.06), (SPRUCE, 0.04)),
    "broadleaf": ((BEECH, 0.5), (OAK, 0.3), (BIRCH, 0.2)),
    "mixed": ((SPRUCE, 0.3), (PINE, 0.2), (BEECH, 0.2), (BIRCH, 0.15), (FIR, 0.15)),
    "fir": ((FIR, 0.6), (PINE, 0.25), (SPRUCE, 0.15)),
}
"""Kinds of stands by name: species and their shares of the stems."""


def height_of(diameter: np.ndarray, species: Species) -> np.ndarray:
    """Height in metres of stems of ``diameter`` metres at breast height."""
    a, b, power = species.naeslund
    d = 100 * np.asarray(diameter, np.float64)
    return BREAST + (d / (a + b * d)) ** power


def crown_diameter_of(diameter: np.ndarray, height: np.ndarray, species: Species) -> np.ndarray:
    """Crown diameter in metres."""
    area = (100 * np.asarray(diameter, np.float64) / 0.557) ** (1 / 0.809)
    return species.crown_scale * area / np.maximum(height, BREAST + 0.2)


def stem_radius(z: np.ndarray, diameter: float, height: float, taper: float) -> np.ndarray:
    """Radius in metres of the stem at heights ``z`` above the ground, with the swelling of the roots."""
    above = np.clip((height - z) / max(height - BREAST, 0.3), 0, None)
    flare = 1 + 0.45 * np.exp(-np.asarray(z) / 0.22)
    return diameter / 2 * above**taper * flare
