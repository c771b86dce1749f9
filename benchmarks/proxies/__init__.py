"""What a proxy costs: ours beside a bare byte relay and beside its peers, all in one interleaved run.

Asked by `python -m benchmarks proxy_cost` and by the gate.
"""
