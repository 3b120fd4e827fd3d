"""The demo: a small shop, a mail server and a webhook receiver, the real daemon, and a story of a minute."""
