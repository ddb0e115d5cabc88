"""LAW: what runs on a person's machine and in tests: a real control plane and node, a simulated CSI driver, the demo.

The product never imports it, and the operator's image does not contain it. It knows the operator only as a command.
"""
