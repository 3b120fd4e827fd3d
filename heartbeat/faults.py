"""stub"""


def has_route() -> bool:
    return True
