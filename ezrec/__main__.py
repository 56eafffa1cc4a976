"""`python -m ezrec`."""

from ezrec.cli.main import main

if __name__ == "__main__":
    main()
