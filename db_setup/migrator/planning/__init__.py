"""Planning: files, history and request to the plan of a run, or of a rollback.

Pure but for ``inspect``, which reads the history. The plan says what is wrong, too; who carries it out refuses first.
May import context and what is below it. ``Inspection`` and the plan of a rollback are loaded when they are used: lint,
and a synthesis of the CDK, plan without a database and without psycopg2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.lazy import late
from migrator.planning import numbering, states
from migrator.planning.matching import match
from migrator.planning.plan import Pending, Policy, make_plan, up_to

if TYPE_CHECKING:
    from migrator.planning.inspection import Inspection, inspect
    from migrator.planning.rollback import RollbackPlan, plan_back_to, plan_rollback
else:
    __getattr__ = late(
        __name__,
        {
            "Inspection": "inspection",
            "RollbackPlan": "rollback",
            "inspect": "inspection",
            "plan_back_to": "rollback",
            "plan_rollback": "rollback",
        },
    )

__all__ = [
    "Inspection",
    "Pending",
    "Policy",
    "RollbackPlan",
    "inspect",
    "make_plan",
    "match",
    "numbering",
    "plan_back_to",
    "plan_rollback",
    "states",
    "up_to",
]
