"""nova-compute that also finds the lab's drivers: Nova looks for `compute_driver` below nova.virt only."""

import sys
from pathlib import Path

import nova.cmd
import nova.virt

nova.virt.__path__.append(str(Path(__file__).resolve().parent.parent))

from nova.cmd.compute import main  # noqa: E402 - after the line above

sys.exit(main())
