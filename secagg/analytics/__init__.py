"""Private statistics: counts, sums, means, variances, histograms, shares, correlations, by group.

    query = analytics.Query({"age": analytics.Mean(0, 120)}, by="ward", groups=("A", "B"), rows=50)
    plan = secagg.plan(clients=8, fields=query.fields)
    inputs = {i: query.encode(rows_of(i)) for i in range(8)}        # each on its own client
    print(query.table(secagg.simulate(plan, inputs)))               # on the server

A query becomes fields of a plan, a client's rows become integers in those fields, and the exact
sums become a table in which every value has a bound on its error (specs/30-analytics.md). The
round in between is any protocol's: nothing here touches a machine.
"""

from __future__ import annotations

from secagg.analytics.checks import Label
from secagg.analytics.measures import Count, Histogram, Mean, Measure, Outside, Share, Sum, Variance
from secagg.analytics.moments import Moments
from secagg.analytics.query import Answer, Query
from secagg.analytics.results import Cell, Grid, MomentTable
from secagg.analytics.table import Line, Table

__all__ = [
    "Answer",
    "Cell",
    "Count",
    "Grid",
    "Histogram",
    "Label",
    "Line",
    "Mean",
    "Measure",
    "MomentTable",
    "Moments",
    "Outside",
    "Query",
    "Share",
    "Sum",
    "Table",
    "Variance",
]
