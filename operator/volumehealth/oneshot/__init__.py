"""LAW: `volumehealth check`: one read-only check from outside the cluster, with the operator's own pipeline."""
