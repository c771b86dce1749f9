"""Several servers with the same model behind one front.

strategies.py  PURE  which nodes to ask, in what order, and why: a function of what is known of each
seen.py        PURE  which beginnings of prompts a node has computed, as hashes of blocks
node.py        PURE  one server: what happened to it, and what state that makes
answer.py            one answer, moved to another node while nothing of it was heard
backend.py           requests, checks and the sum of all nodes
"""

from anyclaude_lab.backends.cluster.backend import MAX_NODES, ClusterBackend

__all__ = ["MAX_NODES", "ClusterBackend"]
