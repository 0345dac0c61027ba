"""What `metermend serve` says of a process that does not come up."""

import sys
from pathlib import Path

import pytest

from tests.servers import free_ports
from workers.cli.processes import Processes
from workers.kernel.errors import InputUnusable


def test_a_process_that_does_not_start_says_why_and_not_how_its_log_ends(tmp_path: Path) -> None:
    """gunicorn ends with a bracket: "web did not start: ]" told nobody that a package was missing."""
    script = "import sys; sys.exit('[Traceback\\nModuleNotFoundError: no packaging\\n]\\n')"
    with Processes(tmp_path) as processes:
        processes.start("web", [sys.executable, "-c", script])
        with pytest.raises(InputUnusable, match="web did not start: ModuleNotFoundError: no packaging"):
            processes.wait_until_listening("web", free_ports(1)[0], 20)
