"""What only tests and benchmarks use: fakes with behaviour, builders, and the deployed product as processes."""
