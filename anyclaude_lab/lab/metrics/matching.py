"""Which call answers which: the matching of greatest weight, each call used once. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def best_matching(weights: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (row, column) with the greatest sum of weights, which are >= 0; in the order of the rows.

    The Hungarian method with potentials, O(rows² columns). Source: Kuhn 1955, in the form of Jonker and Volgenant.
    """
    rows, columns = len(weights), len(weights[0]) if weights else 0
    if not rows or not columns:
        return []
    if rows > columns:
        turned = [[weights[r][c] for r in range(rows)] for c in range(columns)]
        return sorted((row, column) for column, row in best_matching(turned))
    column_of = _assign([[-weight for weight in row] for row in weights])
    return [(row, column) for row, column in enumerate(column_of)]


def _assign(costs: Sequence[Sequence[float]]) -> list[int]:
    """The cheapest column for each row; there are at least as many columns as rows."""
    rows, columns = len(costs), len(costs[0])
    row_potential, column_potential = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of, way = [0] * (columns + 1), [0] * (columns + 1)  # 1-based; 0 is nobody
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least, seen = [float("inf")] * (columns + 1), [False] * (columns + 1)
        while row_of[column]:
            seen[column] = True
            here, step, following = row_of[column], float("inf"), 0
            for other in range(1, columns + 1):
                if seen[other]:
                    continue
                cost = costs[here - 1][other - 1] - row_potential[here] - column_potential[other]
                if cost < least[other]:
                    least[other], way[other] = cost, column
                if least[other] < step:
                    step, following = least[other], other
            for other in range(columns + 1):
                if seen[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    least[other] -= step
            column = following
        while column:
            row_of[column] = row_of[way[column]]
            column = way[column]
    found = [0] * rows
    for column in range(1, columns + 1):
        if row_of[column]:
            found[row_of[column] - 1] = column - 1
    return found
