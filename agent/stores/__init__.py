"""Records where they already are: the same lookup, pushed down into a database or into Parquet in object storage.

A store is one table whose columns a mapping describes, as it does those of a file. A lookup becomes a statement over
the table's own columns: the number in all spellings that the mapping allows, the time in the column's own
representation, so that the table's own index serves it; what comes back is read by the mapping layer that reads files,
so that times, zones, trunks and dispositions mean the same. Nothing is copied, nothing is written.

    settings    what a [[stores]] table may say            secrets     where passwords come from
    spelling    a number in all ways it may be written     times       bounds of time as a column writes them
    plan        mapping and columns -> what to search      found       rows -> call legs, each with its question
    store       one store as `Records`                     merged      several, and the embedded index, as one
    engine      the port to a database, and `pool`; behind it postgresql, mysql, clickhouse, parquet

Several stores and the embedded index stand side by side; their legs are merged, their coverage is counted each.
"""
