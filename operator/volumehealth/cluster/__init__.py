"""LAW: the only reader of Kubernetes: transport, typed partial objects, paged list and watch, the view, the Lease.

Kubernetes' exceptions and dicts end here: what leaves is a value of `model` or an error of `errors`.
"""
