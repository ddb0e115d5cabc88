"""LAW: a real Kubernetes control plane on this machine, for trying things and for tests.

It builds or finds etcd, kube-apiserver and kubectl, starts and stops them, and plays the demo. It knows the
operator only as a command.
"""
