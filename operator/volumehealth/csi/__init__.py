"""LAW: the only room that speaks gRPC: channels, capabilities, typed calls of both CSI generations, stubs.

It says what a driver answered and judges nothing. gRPC's exceptions end here.
"""
