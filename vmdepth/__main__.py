"""`python -m vmdepth VERB ...`: as `vmdepth VERB ...`."""

from vmdepth_runtime.cli import main

if __name__ == "__main__":
    main()
