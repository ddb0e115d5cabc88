"""LAW: the smallest program that does the same wire work as the product; no cleverness that the product could not use."""
