"""LAW: the cluster view: partial structs of Kubernetes objects, the rows that are kept, their joins, and how old they are.

Kubernetes' field names end here: what leaves is a value of `model`.
"""
