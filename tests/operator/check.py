"""What nobody here wrote looks at what the gateway says: Prometheus' own parser, a JSON Schema validator, a terminal."""

import json
import os
import pty
import select
import sys
import time
import urllib.error
import urllib.request


def metrics(url):
    """Scrapes, and prints every sample that prometheus_client reads."""
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
        text = answer.read().decode()
    samples, names = [], set()
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge"), (family.name, family.type)
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in names, f"twice: {key}"
            names.add(key)
            samples.append({"name": sample.name, "labels": sample.labels, "value": sample.value})
    for path, code in (("/nothing", 404),):
        try:
            urllib.request.urlopen(url.replace("/metrics", path), timeout=10)
            raise AssertionError(path)
        except urllib.error.HTTPError as error:
            assert error.code == code, error
    print(json.dumps(samples))


def schema(file):
    """Validates a document from standard input, or one in each line."""
    from jsonschema import Draft202012Validator

    with open(file) as text:
        definition = json.load(text)
    Draft202012Validator.check_schema(definition)
    validator = Draft202012Validator(definition)
    text = sys.stdin.read()
    try:
        documents = [json.loads(text)]
    except json.JSONDecodeError:
        documents = [json.loads(line) for line in text.splitlines()]
    assert documents
    for document in documents:
        assert document["schema"] == 1
        for error in validator.iter_errors(document):
            sys.exit(f"{error.json_path}: {error.message}")


def top(*command):
    """Runs a command on a terminal of 120 by 40, presses keys, prints what was on the screen, wants it to end."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    screen = b""

    def read(seconds):
        nonlocal screen
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            if select.select([terminal], [], [], rest)[0]:
                try:
                    screen += os.read(terminal, 65536)
                except OSError:
                    return

    read(2.5)
    os.write(terminal, b"s")
    read(0.5)
    os.write(terminal, b"q")
    read(1)
    for _ in range(50):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        sys.exit("does not end with q")
    assert os.waitstatus_to_exitcode(status) == 0, status
    sys.stdout.buffer.write(screen)


if __name__ == "__main__":
    {"metrics": metrics, "schema": schema, "top": top}[sys.argv[1]](*sys.argv[2:])
