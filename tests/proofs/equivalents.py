SAME: dict[tuple[str, str, str], str] = {}
