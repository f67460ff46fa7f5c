"""The AWS CLI as a program that stays up: what it is asked, and what it answers, is a line of JSON.

Loading it takes most of the time of a question, and is done once here.
"""

import sys

# Where we were started may have files of any name: none of them is a module.
sys.path = [path for path in sys.path if path]

import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import traceback  # noqa: E402

from awscli.clidriver import create_clidriver  # noqa: E402


def call(driver, arguments):
    """What `aws ARGUMENTS` would end with and print."""
    stdout, stderr = io.BytesIO(), io.BytesIO()
    sys.stdout = io.TextIOWrapper(stdout, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(stderr, encoding="utf-8", write_through=True)
    try:
        code = driver.main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:
        traceback.print_exc()
        code = 255
    sys.stdout.flush()
    sys.stderr.flush()
    text = [stream.getvalue().decode("utf-8", "replace") for stream in (stdout, stderr)]
    return {"code": code or 0, "stdout": text[0], "stderr": text[1]}


def serve():
    """Answers until its standard input ends."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whoever asks for a password on them gets none, as before.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    driver = create_clidriver()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for question in questions:
        print(json.dumps(call(driver, json.loads(question))), file=answers, flush=True)


serve()
