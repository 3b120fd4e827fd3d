"""What keeps messages back: quiet times and deployments as they stand now, storms, the checks that others depend on.

``times`` says whether it is quiet for a check, ``maintenance`` when a window is open, ``deployments`` which matter now,
``storms`` what went bad lately. ``surroundings`` puts all of it together for one check. The rules stand in ``core``.
"""
