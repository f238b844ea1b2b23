"""What Alembic runs for every migration: the caller's connection, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from coordinator.store.models import all_tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=all_tables(), render_as_batch=True)
context.run_migrations()
