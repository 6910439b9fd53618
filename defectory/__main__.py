"""``python -m defectory``: the same as the ``defectory`` command."""

from defectory.cli import main

if __name__ == "__main__":
    main()
