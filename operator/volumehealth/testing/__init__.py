"""LAW: what tests and the sandbox run against: a simulated CSI driver that is a real gRPC server, and builders."""
