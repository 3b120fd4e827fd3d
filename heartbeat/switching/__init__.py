"""Switching checks on and off (``enabled``): who says so is asked, what was said is kept, and checks follow.

``files``, ``pages`` and ``flags`` ask, once; ``rounds`` asks again and again, ``once`` for commands without a daemon.
``switches`` lets the checks follow. What is known of a source, and how it is told, stands in ``core.switches``.
"""
