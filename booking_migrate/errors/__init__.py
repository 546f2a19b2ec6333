"""Every error that a user may see, declared by its fields, its message and its hint.

`base` has the declarations' mechanism, the categories and the one table of exit codes; `places` has the errors of
the command line, places and documents, `refusals` those of documents that a place refuses, `servers` those of servers and worker processes; `runs` those of a run's
life, `lost` those of runs and old bookings that are not there, `control` those of pausing and changing a running command, `references` those of references from other
collections, `rewriting` those of rewriting references, `live` those of following and of a cut-over beside the application. Never put a connection string into a field.
"""

from booking_migrate.errors.base import *  # noqa: F403 - a name is listed in one place only: where it is declared
from booking_migrate.errors.control import *  # noqa: F403
from booking_migrate.errors.live import *  # noqa: F403
from booking_migrate.errors.lost import *  # noqa: F403
from booking_migrate.errors.places import *  # noqa: F403
from booking_migrate.errors.references import *  # noqa: F403
from booking_migrate.errors.refusals import *  # noqa: F403
from booking_migrate.errors.rewriting import *  # noqa: F403
from booking_migrate.errors.runs import *  # noqa: F403
from booking_migrate.errors.servers import *  # noqa: F403
