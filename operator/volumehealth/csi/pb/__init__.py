"""LAW: generated from `protos/` by `make protos`; never edited, never imported outside `csi` and `testing`."""
