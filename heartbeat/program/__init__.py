"""Foreign programs: run with limits, bounded in time and output, ended with all that they started.

output = Output()
ending = await run(Program(["df", "-P"], {"PATH": "/usr/bin"}), probe.remaining, output=output)
"""

from heartbeat.program.output import Output
from heartbeat.program.running import Ending, Program, dismiss, run

__all__ = ["Ending", "Output", "Program", "dismiss", "run"]
