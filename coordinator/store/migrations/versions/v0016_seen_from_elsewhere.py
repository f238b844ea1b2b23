"""What people elsewhere ask for and hand in: a provider's pages, and Identity headers with who brought them.

What a provider was asked, the latest first, is found without reading what others were asked. A header that was handed
in says by whom; those that are there came in at the coordinator itself.

Revision: 0016, after 0015.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_hops_provider_asked_at", "hops", ["provider", "asked_at"], unique=False)
    op.add_column(
        "order_identities",
        sa.Column(
            "taken_by",
            sa.String(length=80),
            comment="Who handed it in, role and name; null where that was at the coordinator",
        ),
    )
