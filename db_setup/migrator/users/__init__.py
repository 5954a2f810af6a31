"""users: the limited users of a database, provisioned from their secrets: roles, grants and passwords.

What works is left alone, an unsuitable role is refused before anything is changed, and whenever a run dies, the login
in the secret works. May import scripts, planning and what planning may; it is loaded only where a user is configured.
"""

from migrator.users.names import chosen
from migrator.users.passwords import rotation_token
from migrator.users.provision import UserProvisioner
from migrator.users.roles import table_creators

__all__ = ["UserProvisioner", "chosen", "rotation_token", "table_creators"]
