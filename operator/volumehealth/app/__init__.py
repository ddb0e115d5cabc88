"""LAW: the operator process: Kopf handlers (wiring only), the composition root, leader election, health endpoints."""
