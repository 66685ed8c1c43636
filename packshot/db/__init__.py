"""The asset database: tables, the ledger that changes them, and the questions people ask them.

``tables`` are SQLModel classes to query with; ``ledger`` and ``runs`` alone write to them; ``engine`` opens SQLite or
PostgreSQL and brings the tables up to date.
"""
