"""What people ask of the running daemon: to be quiet, to acknowledge, to switch a check off, to mark a deployment.

``asking`` reads and weighs it, ``given`` and ``deploying`` carry it out, and ``upkeep`` sees to it until it is over,
also over restarts and reloads.
"""
