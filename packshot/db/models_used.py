"""The models that calls were made of: with them the index of calls by model and time serves every period."""

from __future__ import annotations

from sqlalchemy import Connection, func, select
from sqlmodel import Session, col

from packshot.db.tables import Attempt


def models_used(connection: Connection | Session) -> list[str]:
    """Each model once, in order. One look into the index for each, however many calls there are."""
    model = col(Attempt.model)
    found: list[str] = []
    while True:
        wanted = select(func.min(model))
        following = connection.scalar(wanted.where(model > found[-1]) if found else wanted)
        if following is None:
            return found
        found.append(following)
