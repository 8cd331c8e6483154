"""`python -m aeframe VERB`: also how Lightning starts the other ranks of a distributed run."""

from aeframe.cli.main import main

if __name__ == "__main__":
    main()
