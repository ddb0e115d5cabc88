"""Volume health monitoring for Kubernetes.

Data flows one way: `cluster` and `csi` read, `probe` asks, `judge` decides, `report` tells.
`check` is that sentence in code; `app`, `agent` and `cli` are the processes around it.
"""

__version__ = "0.1.0"
