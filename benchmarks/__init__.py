"""LAW: measures the product from outside, as ratios to floors measured in the same run; nothing here asserts a time.

`python -m benchmarks` prints the table of `docs/performance.md` and writes JSON.
"""
