"""``python -m defectory``: the same as the ``defectory`` command."""

from defectory.cli import run

if __name__ == "__main__":
    run()
