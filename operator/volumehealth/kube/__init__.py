"""LAW: Kubernetes as a library: transport, credentials, proxies, list and watch, the Lease, the queue of writes.

It knows no volume and no policy. Exceptions of the client and of HTTP end here: what leaves is an error of `errors`.
"""
