"""Servers that misbehave on request, for the tests of the daemon, of plugins, and for the demo.

check         load a check from its file and run it once, as the daemon does
tcp           peers that follow a script, say half, drip, reset, hang up, never answer, talk nonsense
http          the same over HTTP; and redirects, bombs, cut-off bodies, ports that refuse or never answer
certificates  for the servers of the two: right, expired, for another name, of an unknown authority
dns           a name server with a zone, that is silent, truncates, garbles or refuses by name
smtp          a mail server that keeps what it receives, and answers as told
postgresql    a real PostgreSQL of Debian's package, in a folder of its own
webhook       a receiver of webhooks that keeps what it receives, and answers, hangs or resets as told
"""
