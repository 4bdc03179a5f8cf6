"""Around models of scene flow: ego motion, ground, baselines without learning, and sequences of scans."""
