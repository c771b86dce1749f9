"""What a proxy costs: ours beside a bare byte relay and beside its peers, all in one interleaved run."""
