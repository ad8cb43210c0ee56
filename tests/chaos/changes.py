"""What others do to a file while it is read; ``whole`` is its content before."""


def truncate(path, whole, random):
    with path.open("r+b") as file:
        file.truncate(random.randint(0, len(whole) - 1))


def truncate_at_a_record(path, whole, random):
    text = whole[: random.randint(1, len(whole) - 1)]
    with path.open("r+b") as file:
        file.truncate(text.rfind(b"\n1,") + 1)


def append(path, whole, random):
    with path.open("ab") as file:
        file.write(b"1,1,7,2025-01-01,R777777,\n")


def replace(path, whole, random):
    other = path.with_name("other.csv")
    other.write_bytes(whole.replace(b"Bread", b"Break"))
    other.replace(path)
